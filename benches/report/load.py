"""Load generators: our open one, k6, and wrk. Each is told which users to be, so that no run meets another's."""

import gzip
import json
import re

from .parts import ROOT
from .processes import Failed, run
from .service import TOKEN

WAYS = {"async": "participation", "sync": "participation-sync"}
# How long answers may take after the last request.
DRAIN_SECONDS = 60


class Users:
    """Ids that nobody had before, given out from a seed: the same seed gives the same ones."""

    def __init__(self, seed):
        self.next = seed * 1_000

    def take(self, count):
        first = self.next
        self.next += count
        return first


def open_load(
    bench, service, campaign, *, way="async", rate=0, seconds=None, connections=None, first=None, warm=0
):
    """Requests at a rate that answers do not move; with a rate of 0 each connection asks when it is answered.

    The latency of those due in the first `warm` of the seconds is not told; they are counted.
    """
    seconds = seconds or bench.settings.seconds
    connections = connections or bench.settings.connections
    first = first or users_for(bench, seconds, rate)
    words = [f"/api/campaigns/{campaign}/{WAYS[way]}", rate, seconds, connections, first, warm]
    told, child = run(
        [bench.open_load, service.address, *words], seconds + DRAIN_SECONDS, bench.work / "open_load.log"
    )
    return offered(json.loads(told)), child


def users_for(bench, seconds, rate=0):
    """The first of as many users as a load can need, however fast it is answered."""
    return bench.users.take(max(rate, 50_000) * seconds)


def offered(told):
    """What came of it, in the names that the report uses."""
    statuses, seconds = told["statuses"], told["seconds"]
    accepted = statuses.get("201", 0)
    admitted = told["admitted"]
    return {
        "asked": told["asked"],
        "seconds": seconds,
        "accepted": accepted,
        "accepted_per_second": accepted / seconds,
        "share": accepted / told["asked"] if told["asked"] else 0.0,
        "refused": sum(count for status, count in statuses.items() if status in ("409", "429", "503")),
        "failed": told["broken"] + told["givenUp"],
        "p50": admitted["p50"],
        # An older generator does not tell these two.
        "p95": admitted.get("p95"),
        "p99": admitted["p99"],
        "max": admitted.get("max"),
    }


def k6(bench, service, shape, *, way, campaign, users, at_once, name):
    """Runs k6/report.js; what it counted is kept as it told it, compressed."""
    summary = bench.work / "k6.json"
    settings = {
        "BASE_URL": service.base,
        "SHAPE": shape,
        "WAY": WAYS[way],
        "CAMPAIGN": campaign,
        "USERS": users,
        "VUS": at_once,
        "FIRST_USER": bench.users.take(users),
        "SEED": bench.seed,
        "SUMMARY": summary,
    }
    words = [word for key, value in settings.items() for word in ("-e", f"{key}={value}")]
    env = {**bench.environment, "K6_NO_USAGE_REPORT": "true", "FIRSTCOME_ADMIN_TOKEN": TOKEN}
    command = [bench.k6, "run", "--quiet", *words, ROOT / "k6/report.js"]
    summary.unlink(missing_ok=True)
    _, child = run(command, 400, bench.work / "k6.log", env=env, codes=(0, 99))
    if not summary.exists():
        raise Failed(f"k6 said nothing\n{child.tail()}")
    data = json.loads(summary.read_text())
    keep(
        bench,
        f"{name}.json.gz",
        {"settings": {k: str(v) for k, v in settings.items() if k != "SUMMARY"}, **data},
    )
    return counted(data), child


def keep(bench, name, data):
    """Raw figures beside the report, without a time in the file, so that the same bytes compress to the same."""
    folder = bench.out / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    (folder / name).write_bytes(gzip.compress(text, 9, mtime=0))


def counted(data):
    """A summary of k6 in the names that the report uses."""
    metrics = data["metrics"]

    def value(metric, field):
        return metrics.get(metric, {}).get("values", {}).get(field)

    began, ended = value("began", "min"), value("ended", "max")
    seconds = (ended - began) / 1000 if began is not None and ended is not None else None
    answers = (value("accepted", "count") or 0) + (value("refused", "count") or 0)
    quantiles = {"p50": "med", "p95": "p(95)", "p99": "p(99)", "max": "max"}
    return {
        "asked": answers + (value("unsure", "count") or 0),
        "seconds": seconds,
        "accepted": value("accepted", "count") or 0,
        "refused": value("refused", "count") or 0,
        "busy": value("busy", "count") or 0,
        "unsure": value("unsure", "count") or 0,
        "answers_per_second": answers / seconds if seconds else None,
        "answer": {name: value("answer_ms", field) for name, field in quantiles.items()},
        "definite": {name: value("definite_ms", field) for name, field in quantiles.items()},
        "yes": {name: value("accepted_ms", field) for name, field in quantiles.items()},
    }


def wrk(bench, base, script, arguments, *, seconds=None, connections=None):
    """A closed load by wrk, the lightest generator."""
    seconds = seconds or bench.settings.seconds
    connections = connections or bench.settings.connections
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        ROOT / script,
        base,
        "--",
    ]
    told, child = run([*command, *map(str, arguments)], seconds + DRAIN_SECONDS, bench.work / "wrk.log")
    return told_by_wrk(told), child


UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0, "h": 3_600_000.0}


def told_by_wrk(text):
    """Requests a second, latencies in milliseconds, and how many were not answered with a success."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if rate is None:
        raise Failed(f"wrk said nothing of use: {text[-300:]}")
    found = {"per_second": float(rate.group(1)), "refused": 0, "p50": None, "p99": None}
    for share, value, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m|h)\s*$", text, re.M):
        found[f"p{share}"] = float(value) * UNITS_MS[unit]
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if refused:
        found["refused"] = int(refused.group(1))
    requests = re.search(r"(\d+) requests in", text)
    found["requests"] = int(requests.group(1)) if requests else 0
    return found
