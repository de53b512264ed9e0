"""Compares missed mutants with those that are argued: python3 verdict.py NAME MUTANTS.OUT ARGUED.

Prints a `result:` line, and fails if a missed mutant is not argued, or if one of the domain is argued and not missed.
"""

import re
import sys
from collections import Counter
from pathlib import Path

name, folder, argued_path = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])


def read(outcome):
    """The mutants with an outcome, without line and column: an edit above one changes them."""
    lines = (folder / f"{outcome}.txt").read_text(encoding="utf-8").splitlines()
    return [re.sub(r"^([^:]+):\d+:\d+: ", r"\1: ", line) for line in lines]


def read_argued():
    """Mutants that nobody needs to notice, each with its reason."""
    argued = {}
    for line in argued_path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            mutant, separator, reason = line.partition(" -- ")
            if not separator or not reason.strip():
                sys.exit(f"argued: no reason after ` -- `: {line}")
            argued[mutant] = reason
    return argued


argued = read_argued()
missed = Counter(read("missed"))
open_ones = sorted(mutant for mutant in missed if mutant not in argued)
needless = []
if name == "domain":
    needless = sorted(one for one in argued if one.startswith("src/domain") and one not in missed)
excused = sum(missed[mutant] for mutant in missed if mutant in argued)
counts = {
    "caught": len(read("caught")),
    "timed out": len(read("timeout")),
    "missed": missed.total() - excused,
    "missed and argued": excused,
    "unviable": len(read("unviable")),
}
print(f"result: {name}: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
for mutant in open_ones:
    print(f"missed: {mutant}")
for mutant in needless:
    print(f"argued, but not missed: {mutant}")
sys.exit(1 if open_ones or needless else 0)
