#!/usr/bin/env python3
"""Checks that a page shows the consumers as they are: after `<!-- PATH -->` follows a block that is the file."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("python/consume.py", "node/consume.js", "java/Consume.java")

pages = "\n".join(page.read_text() for page in sorted((ROOT / "docs").glob("integrators*.md")))
shown = dict(re.findall(r"<!-- judges/cloudevents/(\S+) -->\n+```\w+\n(.*?)^```$", pages, re.DOTALL | re.MULTILINE))
wrong = [name for name in PROGRAMS if shown.get(name) != (ROOT / "judges/cloudevents" / name).read_text()]
if wrong:
    sys.exit(f"WRONG: docs/integrators*.md does not show {', '.join(wrong)} as it is")
