"""What scripts/check-deploy asks of files that are YAML or JSON. Run by it, in an environment that has the packages.

    deploy_files.py compose                     docker-compose.yml: its shape, and what it says of itself
    deploy_files.py small                       deploy/compose/small.yml, laid over docker-compose.yml
    deploy_files.py dashboards RULES            writes the expressions of all dashboards to RULES, for promtool
    deploy_files.py kubernetes RENDERED VERSION what helm rendered, against the schemas of that Kubernetes
"""

import json
import pathlib
import re
import sys

import yaml

COMPOSE = pathlib.Path("docker-compose.yml")
SMALL = pathlib.Path("deploy/compose/small.yml")
# Memory of the small machine's 2 GiB that is reserved for the system.
SMALL_MIB_MAX = 1792
DASHBOARDS = pathlib.Path("deploy/grafana/dashboards")
# Variables of Grafana, and their values in the checks.
VARIABLES = {"$__rate_interval": "1m", "$job": ".+", "$instance": ".+"}
# Kinds that are not Kubernetes' own, so there is no schema for them.
FOREIGN_KINDS = {"PodMonitor"}


def mistakes_of_compose():
    """Mistakes in docker-compose.yml beyond its shape."""
    import compose_spec

    # The library cannot parse ports with variables: each variable is replaced by its default.
    text = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    document = yaml.safe_load(text)
    shape = {key: value for key, value in document.items() if not key.startswith("x-")}
    try:
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(shape)).validate()
    except ValueError as error:
        yield f"its shape: {error}"
    services = document["services"]
    volumes = document["volumes"]
    for name, service in services.items():
        profiles = set(service.get("profiles", []))
        for needed in service.get("depends_on", {}):
            if needed not in services:
                yield f"{name} depends on {needed}, which there is not"
                continue
            others = set(services[needed].get("profiles", []))
            if others and not profiles & others:
                yield f"{name} depends on {needed}, which is in other profiles"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name} is reached from elsewhere by {port}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                if not pathlib.Path(source).exists():
                    yield f"{name} mounts {source}, which is not there"
            elif source not in volumes:
                yield f"{name} mounts {source}, which is no volume"
        if "healthcheck" not in service:
            for other, dependent in services.items():
                condition = dependent.get("depends_on", {}).get(name, {}).get("condition")
                if condition == "service_healthy":
                    yield f"{other} waits until {name} is healthy, which it never says"
    addresses = [port.rsplit(":", 1)[0] for service in services.values() for port in service.get("ports", [])]
    for address in sorted({address for address in addresses if addresses.count(address) > 1}):
        yield f"{address} is taken twice"


def mistakes_of_small():
    """Mistakes in the override for a small machine."""
    import compose_spec

    base = yaml.safe_load(re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", COMPOSE.read_text()))
    small = yaml.safe_load(SMALL.read_text())
    started = {name for name, service in base["services"].items() if "profiles" not in service}
    if set(small["services"]) != started:
        yield f"{SMALL} is about {sorted(small['services'])}, and without a profile there are {sorted(started)}"
        return
    mib = 0
    for name, service in small["services"].items():
        before = base["services"][name]
        for key, value in service.items():
            # Lists are replaced and maps are merged, as compose does with a command and an environment.
            before[key] = {**before[key], **value} if isinstance(before.get(key), dict) else value
        if not re.fullmatch(r"\d+m", service.get("mem_limit", "")):
            yield f"{name} has no mem_limit in MiB"
            continue
        mib += int(service["mem_limit"][:-1])
        if service.get("cpuset") != "0":
            yield f"{name} is not kept to one core"
    if mib > SMALL_MIB_MAX:
        yield f"the limits add up to {mib} MiB, above {SMALL_MIB_MAX}"
    shape = {key: value for key, value in base.items() if not key.startswith("x-")}
    try:
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(shape)).validate()
    except ValueError as error:
        yield f"the shape of both together: {error}"


def panels(board):
    """All panels of a dashboard, those within rows included."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def mistakes_of_dashboards(rules_file):
    """Mistakes in the dashboards; their expressions are written as rules."""
    rules = []
    uids = set()
    for file in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(file.read_text())
        if board["uid"] != file.stem or board["uid"] in uids:
            yield f"{file}: its uid is not its name"
        uids.add(board["uid"])
        ids = [panel["id"] for panel in panels(board)]
        if len(ids) != len(set(ids)):
            yield f"{file}: two panels have one id"
        for panel in panels(board):
            if panel["type"] != "row" and not panel.get("targets"):
                yield f"{file}: {panel['title']} shows nothing"
            for target in panel.get("targets", []):
                expression = target["expr"]
                for variable, value in VARIABLES.items():
                    expression = expression.replace(variable, value)
                if "$" in expression:
                    yield f"{file}: {panel['title']} has a variable that is not known: {expression}"
                rules.append({"record": f"panel:{len(rules)}", "expr": expression})
    if not rules:
        yield "there are no dashboards"
    pathlib.Path(rules_file).write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))


def mistakes_of_kubernetes(rendered, version):
    """Mistakes in what helm rendered."""
    import kubernetes_validate

    documents = [document for document in yaml.safe_load_all(pathlib.Path(rendered).read_text()) if document]
    if len(documents) < 4:
        yield "helm rendered next to nothing"
    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        if kind in FOREIGN_KINDS:
            continue
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{kind} {name}: {'.'.join(str(step) for step in error.path)}: {error.message}"
        pod = document.get("spec", {}).get("template", {}).get("spec")
        if pod and pod.get("enableServiceLinks") is not False:
            yield f"{kind} {name}: service links would be taken for settings"


CHECKS = {"compose": mistakes_of_compose, "small": mistakes_of_small, "dashboards": mistakes_of_dashboards, "kubernetes": mistakes_of_kubernetes}


def main():
    mistakes = list(CHECKS[sys.argv[1]](*sys.argv[2:]))
    print("\n".join(mistakes))
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
