"""The ceilings: the most that something that does nothing else gets out of each part of this machine.

The framework with no work behind it, the admission script asked by Redis' own benchmark, the same rows written
by SQL in several ways, the broker filled by its own benchmark.
"""

import contextlib
import csv
import itertools
import re
import socket
import sys
import time

from . import filling, load, rows
from .parts import ROOT
from .processes import Child, Failed, free_port, run
from .service import Installation

LEASE_US = 3_600_000_000
# The replica that asks, as a hexadecimal number.
OWNER = "1"


class Plain:
    """The framework's plain answer to a POST with JSON, up for the whole run."""

    ANSWER = (
        '{"participationId":"01a2034e-2ddd-7409-b320-012f1e0c9796","campaignId":1,"userId":1,"quantity":1,'
        '"rank":1,"status":"confirmed","remaining":null}'
    )

    def __init__(self, bench):
        self.bench = bench

    def __enter__(self):
        port = free_port()
        address = f"127.0.0.1:{port}"
        self.base = f"http://{address}"
        command = [self.bench.plain_json, address, self.ANSWER]
        self.child = Child(command, self.bench.work / "plain.log", env=self.bench.environment)
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return self
            if not self.child.running() or time.monotonic() > deadline:
                raise Failed(f"the plain server did not start\n{self.child.tail()}")
            time.sleep(0.02)

    def __exit__(self, *_):
        self.child.stop()

    def measure(self):
        arguments = ["/api/campaigns/1/participation", 1]
        told, _ = load.wrk(self.bench, self.base, "benches/participate.lua", arguments)
        if told["refused"]:
            raise Failed("the plain answer was refused")
        return told


def admission(bench, number):
    """Admissions a second by redis-benchmark, the real script on the state of a real campaign.

    By how many entrants a call has and how many calls a connection sends at once. Every entrant is another
    user: of a thousand million random ones, so hardly any is met twice.
    """
    found = {}
    with Installation(bench, f"gate_{number}") as installation:
        process = installation.start()
        campaign = process.campaign("gate")
        # The service would sweep the leases that the benchmark makes.
        process.stop()
        sha = bench.parts.redis.ask("SCRIPT", "LOAD", (ROOT / "lua/admit.lua").read_text())
        tag = f"{installation.name}:{{campaign:{campaign}}}"
        keys = [f"{tag}:{name}" for name in ("state", "users", "leases")]
        for entrants in bench.settings.limit_entrants:
            for pipelined in (1, 16):
                calls = max(1, bench.settings.limit_admissions // entrants)
                before = units(bench, keys[0])
                rate = benchmark(bench, sha, keys, entrants, pipelined, calls)
                admitted = units(bench, keys[0]) - before
                # What was not admitted does not count: a user met twice, or a script that failed.
                found[f"{entrants} a call, {pipelined} at once"] = rate * admitted / calls
        if bench.settings.form != "short" and not any(found.values()):
            raise Failed("redis-benchmark admitted nobody")
    return found


def units(bench, state):
    return int(bench.parts.redis.ask("HGET", state, "units") or 0)


def benchmark(bench, sha, keys, entrants, pipelined, calls):
    """Calls a second."""
    triples = [word for _ in range(entrants) for word in ("p__rand_int__", "__rand_int__", "1")]
    words = ["-c", 50, "-P", pipelined, "-n", calls, "-r", 1_000_000_000, "--csv"]
    command = [*bench.parts.redis_benchmark(), *words, "EVALSHA", sha, 3, *keys,
               LEASE_US, OWNER, entrants, *triples]
    told, _ = run(command, 300, bench.work / "redis-benchmark.log")
    return calls_per_second(told)


def calls_per_second(told):
    """The rate in the CSV of redis-benchmark: a head, and a line that begins with the test's name."""
    lines = list(csv.DictReader(told.splitlines()))
    if not lines or "rps" not in lines[-1]:
        raise Failed(f"redis-benchmark said nothing of use: {told[-300:]}")
    return float(lines[-1]["rps"])


def sql(bench, number):
    """Rows a second by sessions and batch, once with the positions that a relay writes and once without."""
    ways = sql_ways(bench.settings)
    return {
        kind: {name: written(bench, f"{number}_{kind}", kind == "published", *way) for name, way in ways.items()}
        for kind in ("pending", "published")
    }


def best_of_one_session(bench, found):
    """Sessions and rows a commit of the fastest way that has one session: a campaign lets one commit at a time."""
    ways = sql_ways(bench.settings)
    return ways[max((name for name, way in ways.items() if way[0] == 1), key=found.get)]


def sql_beside(bench, name, way, share):
    """Rows a second beside something that takes as much of the processor as the generator of the load did."""
    command = [sys.executable, "-m", "benches.report.occupy", f"{share:.3f}"]
    beside = Child(command, bench.work / "occupy.log", cwd=ROOT)
    try:
        return written(bench, f"{name}_beside", True, *way)
    finally:
        beside.stop()


def written(bench, number, published, sessions, batch):
    """Rows a second that so many sessions commit, each so many at a time."""
    plan = bench.settings
    bench.in_time()
    with Installation(bench, f"sql_{number}_{sessions}_{batch}") as installation:
        installation.command("migrate")
        # Sessions on one campaign would wait for its row: each has its own.
        filling.campaigns(installation, sessions)
        files = [
            rows.write(
                bench.work / f"rows-{nth}.sql",
                nth + 1,
                plan.limit_rows // sessions,
                batch,
                published,
                bench.seed,
            )
            for nth in range(sessions)
        ]
        seconds = bench.parts.sessions(installation.name, files, 300)
        count = installation.number("SELECT COUNT(*) FROM outbox_event WHERE aggregatetype = 'participation'")
        counted = installation.number("SELECT SUM(committed_units) FROM campaign")
        if counted != count:
            raise Failed(f"{count} rows were written, and {counted} units counted")
    return count / seconds


def sql_ways(plan):
    """Sessions and rows a commit, by what that is called."""
    ways = itertools.product(plan.limit_sessions, plan.limit_batches)
    return {sessions_name(*way): way for way in ways}


def sessions_name(sessions, batch):
    return f"{sessions} session{'s' if sessions > 1 else ''}, {batch} a commit"


def producer(bench, number):
    """Records a second by the broker's own benchmark, all acknowledged by all, of the size of an event."""
    found = {}
    for linger, flight in ((1, 1), (1, 5), (10, 5)):
        topic = f"{bench.run}_producer_{number}_{linger}_{flight}"
        bench.parts.kafka_tool(
            "TopicCommand",
            "--bootstrap-server",
            bench.parts.brokers,
            "--create",
            "--topic",
            topic,
            "--partitions",
            "3",
            "--replication-factor",
            "1",
        )
        settings = {
            "acks": "all",
            "enable.idempotence": "true",
            "linger.ms": linger,
            "batch.size": 200_000,
            "buffer.memory": 67_108_864,
            "max.in.flight.requests.per.connection": flight,
        }
        count = bench.settings.limit_records
        # Java compiles its own code first, so what comes before that does not count.
        warm = count // 4
        # Headers and key are part of an event, and this tool writes values only.
        told, _ = bench.parts.kafka_tool(
            "ProducerPerformance",
            "--bootstrap-server",
            bench.parts.brokers,
            "--topic",
            topic,
            "--num-records",
            count + warm,
            "--warmup-records",
            warm,
            "--record-size",
            rows.EVENT_BYTES,
            "--throughput",
            "-1",
            "--command-property",
            *(f"{key}={value}" for key, value in settings.items()),
            seconds_max=300,
        )
        found[f"linger {linger} ms, {flight} in flight"] = produced_per_second(told)
    return found


def produced_per_second(told):
    """The rate in the last line of Kafka's producer benchmark, which is that after its warm-up."""
    found = re.findall(r"steady state records sent, ([\d.]+) records/sec", told)
    if not found:
        raise Failed(f"the producer benchmark said nothing of use: {told[-300:]}")
    return float(found[-1])
