"""Compares builds of the service on the real parts in one run: accepted participations per second, p50 and p99, and
the processor time of each part for one of them, on the asynchronous path.

Every build runs with a database, keys and topics of its own. They get the same load (`wrk`) in turns, round by round,
so that a slow moment of the machine hits all of them. Before each round the yardstick is measured: what mysqld takes
for a row of bare SQL in the tables before decision 0016 (one connection, 256 rows in a transaction). Processor times
are also given in yardsticks, because machines differ, and one machine differs from hour to hour.

    pip install pymysql
    scripts/bench-pairs [--rounds N] [--seconds S] [--connections C[,C…]] BINARY…

The first binary is the one that the others are compared with.
"""

import argparse
import contextlib
import pathlib
import sys
import time

from .bench import Bench
from .figures import ranged, spread
from .load import wrk
from .parts import NAMES, ROOT
from .processes import Watch, run
from .service import Installation
from .settings import choose

WARM_SECONDS = 3
YARDSTICK_SECONDS_MAX = 300
COMPARED = ("accepted/s", "p50", "all", "service")


class Build:
    """A build that runs, with an installation of its own."""

    def __init__(self, bench, stack, binary, number):
        self.bench, self.name = bench, f"{number}:{pathlib.Path(binary).name}"
        bench.binary = pathlib.Path(binary).absolute()
        self.installation = stack.enter_context(Installation(bench, f"build{number}"))
        self.service = self.installation.start()

    def round(self, connections, seconds):
        """What one load costs, until everything is published."""
        campaign = self.service.campaign("pairs")
        path = f"/api/campaigns/{campaign}/participation"
        with Watch({"service": [self.service.pid], **self.bench.parts.pids()}) as watch:
            began = time.monotonic()
            script, base = "benches/participate.lua", self.service.base
            told, _ = wrk(self.bench, base, script, [path, 1], seconds=seconds, connections=connections)
            took = time.monotonic() - began
            self.installation.wait_until_published()
        counted = f"SELECT participation_count FROM campaign WHERE id = {campaign}"
        accepted = self.installation.number(counted)
        used = {part: cpu for part, cpu in watch.cpu.items() if cpu is not None}
        found = {part: 1e6 * cpu / accepted for part, cpu in used.items()}
        return {
            **found,
            "all": sum(found.values()),
            "accepted/s": accepted / took,
            "p50": told["p50"],
            "p99": told["p99"],
        }


def measure_yardstick(bench):
    """Microseconds of mysqld for a row."""
    command = [sys.executable, ROOT / "benches/outbox_tables.py", "--yardstick"]
    environment = {**bench.environment, **bench.parts.env}
    told, _ = run(command, YARDSTICK_SECONDS_MAX, bench.work / "yardstick.log", env=environment)
    return float(told.split()[-1])


def show(name, found, yardstick):
    parts = [part for part in ("service", *NAMES, "all") if part in found]
    times = ", ".join(f"{part} {found[part]:.1f} ({found[part] / yardstick:.2f})" for part in parts)
    rates = f"{found['accepted/s']:7.0f}/s  p50 {found['p50']:6.1f}  p99 {found['p99']:6.1f} ms"
    print(f"  {name:16} {rates}  µs: {times}", flush=True)


def compare(bench, builds, connections, given):
    print(f"{connections} connections, {given.seconds} s a round")
    for build in builds:
        build.round(connections, WARM_SECONDS)
    rounds = []
    for number in range(given.rounds):
        yardstick = measure_yardstick(bench)
        print(f" round {number + 1}, yardstick {yardstick:.1f} µs")
        in_turns = builds if number % 2 else builds[::-1]
        found = {build.name: build.round(connections, given.seconds) for build in in_turns}
        for build in builds:
            show(build.name, found[build.name], yardstick)
        rounds.append((yardstick, found))
    summarise([build.name for build in builds], rounds)


def summarise(names, rounds):
    """The medians of the rounds, and the ratios of each round to the first build."""
    yardsticks = spread([yardstick for yardstick, _ in rounds])
    print(f" medians, yardstick {ranged(yardsticks, 1)} µs")
    first, *others = names
    for name in names:
        of = [found[name] for _, found in rounds]
        show(name, {key: spread([one[key] for one in of])["median"] for key in of[0]}, yardsticks["median"])
        each = spread([found[name]["all"] / yardstick for yardstick, found in rounds])
        print(f"  {'':16} all, in yardsticks of its round: {ranged(each, 2)}")
    for name in others:
        for key in COMPARED:
            ratios = spread([found[name][key] / found[first][key] for _, found in rounds])
            print(f"  {name} : {first}, {key}: {ranged(ratios, 2)}")


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench-pairs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--connections", default="400,100")
    parser.add_argument("binaries", nargs="+", metavar="BINARY")
    given = parser.parse_args()
    settings = choose("full", [])
    with Bench(settings, ROOT / "target", int(time.time())) as bench, contextlib.ExitStack() as stack:
        builds = [Build(bench, stack, binary, number) for number, binary in enumerate(given.binaries)]
        for connections in map(int, given.connections.split(",")):
            compare(bench, builds, connections, given)


main()
