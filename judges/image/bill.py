"""Completes a bill of materials of cargo-cyclonedx with the output of `cargo tree --prefix none`, and checks it.

    bill.py BILL TREE OUTPUT

cargo-cyclonedx asks `cargo metadata`, which also names crates that only features which are off would take. A bill with
them warns of holes in code that is not there. They are taken out. A crate of the tree that the bill lacks is a mistake.
"""

import json
import pathlib
import re
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def identity(part):
    return part["name"], part["version"]


def prune(bill, compiled):
    """Takes out what is not compiled in, and returns how many crates that were."""
    gone = {part["bom-ref"] for part in bill["components"] if identity(part) not in compiled}
    bill["components"] = [part for part in bill["components"] if part["bom-ref"] not in gone]
    bill["dependencies"] = [entry for entry in bill["dependencies"] if entry["ref"] not in gone]
    for entry in bill["dependencies"]:
        if "dependsOn" in entry:
            entry["dependsOn"] = [ref for ref in entry["dependsOn"] if ref not in gone]
    return len(gone)


def mistakes(bill, compiled):
    error = JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(json.dumps(bill))
    if error:
        yield f"against the schema: {error}"
    if len(compiled) < 50:
        yield "the output of cargo tree was not understood"
    listed = {identity(part) for part in [bill["metadata"]["component"], *bill["components"]]}
    for name, number in sorted(compiled - listed):
        yield f"{name} {number} is compiled in, and not in the bill"
    for part in bill["components"]:
        ours = "file://" in part["purl"]
        if not ours and not any(entry["alg"] == "SHA-256" for entry in part.get("hashes", [])):
            yield f"{part['name']} has no checksum"
        if not part.get("licenses"):
            yield f"{part['name']} has no licence"
    if "file:///" in json.dumps(bill):
        yield "the bill names folders of this machine"


def main():
    bill_file, tree_file, output = (pathlib.Path(path) for path in sys.argv[1:4])
    # The copy that it was written for is a folder of this machine.
    bill = json.loads(bill_file.read_text().replace(f"file://{bill_file.parent}", "file://."))
    compiled = set(re.findall(r"^(\S+) v(\S+)", tree_file.read_text(), re.MULTILINE))
    gone = prune(bill, compiled)
    found = list(mistakes(bill, compiled))
    print("\n".join(found), file=sys.stderr)
    if found:
        return 1
    output.write_text(json.dumps(bill, indent=2) + "\n")
    print(f"result: bill of materials: valid CycloneDX {bill['specVersion']}, {len(compiled)} crates, {gone} that are not compiled in were taken out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
