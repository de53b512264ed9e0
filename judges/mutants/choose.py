"""Chooses mutants at random: python3 choose.py NUMBER SEED LIST.json. Prints a regular expression for each."""

import json
import random
import re
import sys

number, seed, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    names = sorted(mutant["name"] for mutant in json.load(file))
random.Random(int(seed)).shuffle(names)
for name in names[: int(number)]:
    print(f"^{re.escape(name)}$")
