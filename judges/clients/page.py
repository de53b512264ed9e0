"""Checks that the page shows the programs: after `<!-- judges/clients/FILE -->` follows a block that is the file."""

import pathlib
import re
import sys

page = pathlib.Path(sys.argv[1]).read_text()
here = pathlib.Path(__file__).parent
blocks = dict(re.findall(r"<!-- judges/clients/(\S+) -->\n+```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
wanted = [path for name in ("sell.*", "Sell.*", "again.*", "Again.*", "generate.*") for path in here.glob(f"*/{name}")]
names = {str(path.relative_to(here)) for path in wanted}
wrong = [f"{name} is not on the page" for name in sorted(names - blocks.keys())]
wrong += [f"{name} differs" for name in blocks if not (here / name).is_file() or (here / name).read_text() != blocks[name]]
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(bool(wrong))
