"""Experiment 4: where the time of one participation goes, from the request to Kafka's acknowledgement.

The service's own histograms say how long each stage took, Redis and MySQL what they spent in theirs. What nobody
measures is shown as the rest, and not guessed.
"""

import contextlib

from . import load
from .checks import examine
from .figures import observed, quantile, text
from .pages import Paragraph, Plot, Table
from .plots import Step, waterfall
from .service import Installation

ANSWER = ("http_request_duration_seconds", {"route": "/api/campaigns/{id}/participation", "method": "POST"})
PUBLISHED = "firstcome_relay_commit_to_ack_seconds"
# The stages of a participation, in order, and the histogram of each.
STAGES = {
    "gate: waiting for a call of the script, and the call": "firstcome_admission_seconds",
    "queue: waiting for the writer": "firstcome_writer_queue_seconds",
    "commit: the transaction": "firstcome_writer_commit_seconds",
    "wake: from commit until it is sent": "firstcome_relay_wake_seconds",
    "publish: from being sent to the acknowledgement": "firstcome_relay_publish_seconds",
}
# Statements of the writer's transaction, by how they begin.
STATEMENTS = {
    "the campaign's row": "UPDATE campaign SET committed_units",
    "participations": "INSERT INTO participation ",
    "events": "INSERT INTO outbox_event ",
}
HISTORY = "performance_schema.events_statements_history_long"
# Off by default: it keeps the last 10,000 statements of all connections.
KEEP = "UPDATE performance_schema.setup_consumers SET ENABLED = '{answer}' WHERE NAME = 'events_statements_history_long'"
KEPT = """
SELECT THREAD_ID, TIMER_WAIT, LEFT(SQL_TEXT, 60) FROM {history} WHERE CURRENT_SCHEMA = '{schema}' AND EVENT_NAME IN
  ('statement/com/Execute', 'statement/sql/begin', 'statement/sql/commit') ORDER BY THREAD_ID, EVENT_ID
"""


def measure(bench):
    return [at(bench, rate) for rate in bench.settings.stage_rates]


def at(bench, rate):
    """What each stage took while so many requests a second came."""
    bench.in_time()
    seconds = bench.settings.seconds
    with Installation(bench, f"stages_{rate}") as installation:
        service = installation.start()
        campaign = service.campaign("stages")
        warm = max(bench.settings.warm_seconds, 1)
        load.open_load(bench, service, campaign, rate=rate, seconds=warm)
        installation.wait_until_published()
        with kept_statements(bench, installation) as statements:
            before = looks(bench, service)
            told, _ = load.open_load(bench, service, campaign, rate=rate, seconds=seconds)
            installation.wait_until_published()
            after = looks(bench, service)
        examine(bench, installation, [campaign], where=f"stages at {rate}/s")
    calls, micros = (later - sooner for later, sooner in zip(after["gate"], before["gate"]))
    found = {
        "rate": rate,
        "accepted_per_second": told["accepted_per_second"],
        "answer": observed(before["metrics"], after["metrics"], ANSWER[0], **ANSWER[1]),
        "published": observed(before["metrics"], after["metrics"], PUBLISHED),
        "stages": {
            name: observed(before["metrics"], after["metrics"], metric)
            for name, metric in STAGES.items()
        },
        "gate_script_ms": micros / calls / 1_000 if calls else None,
        "gate_calls": calls,
        "statements": statements,
        "histograms": {
            name: observed(before["metrics"], after["metrics"], name)
            for name in after["metrics"].histograms()
            if name.startswith("firstcome_")
        },
    }
    answer, published = text(found["answer"]["mean"]), text(found["published"]["mean"])
    bench.say(f"stages at {rate}/s: answer {answer} ms, published {published} ms later")
    return found


def looks(bench, service):
    # Scripts are called by their hash.
    return {"metrics": service.metrics(), "gate": bench.parts.redis.calls("evalsha")}


@contextlib.contextmanager
def kept_statements(bench, installation):
    """Lets MySQL keep its last statements meanwhile; afterwards it has what they took."""
    found = {}
    bench.parts.sql(f"TRUNCATE {HISTORY}; " + KEEP.format(answer="YES"))
    try:
        yield found
        kept = bench.parts.sql(KEPT.format(history=HISTORY, schema=installation.name))
        found |= {name: summary(took) for name, took in commits(kept).items()}
    finally:
        bench.parts.sql(KEEP.format(answer="NO"))


def commits(kept):
    """Milliseconds of each statement of the writer's transactions, and of their COMMITs and no others.

    `kept` are the statements by connection, in order: connection, picoseconds, beginning of the text.
    """
    found = {name: [] for name in (*STATEMENTS, "COMMIT")}
    writes = {}
    for connection, picoseconds, words in kept:
        took = int(picoseconds) / 1e9
        name = next((name for name, begins in STATEMENTS.items() if words.startswith(begins)), None)
        if words == "BEGIN":
            writes[connection] = False
        elif name is not None:
            found[name].append(took)
            writes[connection] = True
        elif words == "COMMIT" and writes.pop(connection, False):
            found["COMMIT"].append(took)
    return found


def summary(took):
    return {
        "count": len(took),
        "mean": sum(took) / len(took) if took else None,
        **{f"p{share}": quantile(took, share / 100) for share in (50, 95, 99)},
    }


def steps(one):
    """One participation from left to right, in milliseconds of the mean: means add up, quantiles do not."""
    answer = one["answer"]["mean"] or 0
    gate, queue, commit, wake, publish = ((one["stages"][name] or {}).get("mean") or 0 for name in STAGES)
    made = [Step("the response, in total", 0.0, answer, "whole")]
    at = 0.0
    for name, took, inside in [
        ("gate: the wait for a call, and the call", gate, [("the script, in Redis", one["gate_script_ms"] or 0)]),
        ("queue: the wait for the writer", queue, []),
        (
            "commit: the transaction",
            commit,
            [(f"{name}, in MySQL", found["mean"] or 0) for name, found in one["statements"].items()],
        ),
    ]:
        made.append(Step(name, at, took, "part"))
        # Where in a stage its inner steps begin is not measured: they are drawn from its beginning.
        within = at
        for inner, inner_took in inside:
            made.append(Step(inner, within, inner_took, "inner"))
            within += inner_took
        at += took
    made.append(Step("the rest: HTTP, and changes of threads", at, max(answer - at, 0), "rest"))
    made.append(Step("wake: from the commit to the send", answer, wake, "after"))
    made.append(Step("publish: to the acknowledgement", answer + wake, publish, "after"))
    return made


def present(found, settings):
    yield Paragraph(
        "The mean of one participation, from left to right, each stage from a histogram of the service. Inside a stage "
        "are the times reported by Redis and MySQL (a statement and a COMMIT belong to a batch, and each "
        "request of the batch waits for them). The rest is the remaining response time. Wake and publish follow the response."
    )
    for one in found:
        yield Plot(
            f"stages-{one['rate']}",
            waterfall(steps(one), x="ms"),
            f"At {one['rate']:,} requests/s ({text(one['accepted_per_second'])} accepted/s).",
        )
    yield Table(
        "Stages",
        ["requests/s", "stage", "count", "mean ms", "p50 ms", "p95 ms", "p99 ms", "measured by"],
        [row for one in found for row in stage_rows(one)],
    )
    yield Table(
        "All histograms of the service",
        ["requests/s", "histogram", "count", "mean ms", "p50 ms", "p95 ms", "p99 ms"],
        [
            [text(one["rate"]), f"`{name}`", *quantiles(told)]
            for one in found
            for name, told in one["histograms"].items()
        ],
        folded=True,
    )


def quantiles(told):
    told = told or {}
    return [text(told.get(name)) for name in ("count", "mean", "p50", "p95", "p99")]


def stage_rows(one):
    rate = text(one["rate"])
    yield [rate, "the response", *quantiles(one["answer"]), f"`{ANSWER[0]}`"]
    for name, told in one["stages"].items():
        yield [rate, name, *quantiles(told), f"`{STAGES[name]}`"]
    yield [
        rate,
        "in gate: the script",
        text(one["gate_calls"]),
        text(one["gate_script_ms"]),
        "–",
        "–",
        "–",
        "Redis, `commandstats` (all scripts)",
    ]
    for name, told in one["statements"].items():
        yield [rate, f"in commit: {name}", *quantiles(told), "MySQL, its last 10,000 statements"]
