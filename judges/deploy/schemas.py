"""Copies the JSON schemas of kubernetes-validate so that kubeconform finds one from the other: schemas.py VERSION OUTPUT

In the package each schema has an address on the internet, and refers to others by it. In the copy they are files.
"""

import json
import pathlib
import sys

import kubernetes_validate


def localize(value):
    """Takes the addresses out of a schema."""
    if isinstance(value, list):
        return [localize(each) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {key: localize(each) for key, each in value.items()}
    if isinstance(changed.get("$ref"), str):
        changed["$ref"] = changed["$ref"].replace("/api/_definitions.json", "_definitions.json")
    return changed


def main():
    version, output = sys.argv[1], pathlib.Path(sys.argv[2])
    package = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}-local-strict"
    output.mkdir(parents=True)
    for file in package.glob("*.json"):
        schema = localize(json.loads(file.read_text()))
        schema.pop("$id", None)
        (output / file.name).write_text(json.dumps(schema))


if __name__ == "__main__":
    main()
