"""What an accepted participation costs with the database behind vtgate, or without Vitess on the same MySQL.

Starts a service on the cluster of `scripts/vitess up`, sells several campaigns at the same time (`wrk`), waits until
every event is published, and prints a line: accepted participations per second, the slowest p50 and p99 of the
campaigns, and microseconds of processor time of each process for an accepted participation.

    scripts/vitess up 2 && python3 -m benches.vitess [--without-vitess] [--campaigns N] [--connections C] [--rounds N]
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

from .report.figures import spread
from .report.load import told_by_wrk
from .report.parts import NAMES, ROOT
from .report.processes import Child, Failed, Watch, free_port

TOKEN = "bench-admin-token"
WARM_SECONDS = 3
WAIT_SECONDS = 60
PENDING = """SELECT COALESCE(SUM(c.event_sequence - COALESCE(o.published, 0)), 0)
FROM campaign c LEFT JOIN outbox_position o ON o.campaign_id = c.id"""


def shell(*words):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def pid_of(file):
    return [int(pathlib.Path(ROOT / ".parts" / file).read_text().split()[0])]


class Cluster:
    """The database of a service, asked in SQL."""

    def __init__(self, without_vitess, name):
        self.verb, self.schema = ("mysql", name) if without_vitess else ("sql", "main")
        self.pids = {"mysqld": pid_of("run/spare-vitess.pid")}
        if without_vitess:
            address = shell("scripts/parts", "spare", "address", "vitess").strip()
            self.url = f"mysql://root@{address}/{name}"
            shell("scripts/vitess", "mysql", "-e", f"CREATE DATABASE {name}")
        else:
            exports = dict(line.split("=", 1) for line in shell("scripts/vitess", "env").splitlines())
            self.url = exports["export FIRSTCOME_DATABASE_URL"]
            self.pids["vtcombo"] = pid_of("vitess/vtcombo.pid")

    def number(self, statement):
        return int(shell("scripts/vitess", self.verb, "-N", "-B", "-e", statement, self.schema))


class Service:
    def __init__(self, binary, cluster, name, work):
        address = f"127.0.0.1:{free_port()}"
        exports = shell("scripts/parts", "env").splitlines()
        parts = dict(line.removeprefix("export ").split("=", 1) for line in exports)
        parts.pop("FIRSTCOME_REWARDS_DATABASE_URL")
        settings = {
            "FIRSTCOME_DATABASE_URL": cluster.url,
            "FIRSTCOME_REDIS_PREFIX": name,
            "FIRSTCOME_KAFKA_TOPIC_PREFIX": name,
            "FIRSTCOME_KAFKA_CREATE_TOPICS": "true",
            "FIRSTCOME_ADMIN_TOKEN": TOKEN,
            "FIRSTCOME_AGGREGATION_ENABLED": "false",
            "FIRSTCOME_CONSUMERS_ENABLED": "",
            "FIRSTCOME_HTTP_LISTEN": address,
        }
        self.base, self.name = f"http://{address}", name
        self.child = Child([binary], work / "service.log", env={**os.environ, **parts, **settings})
        self.wait(self.is_ready, "ready")

    def is_ready(self):
        if not self.child.running():
            raise Failed(self.child.tail())
        try:
            return urllib.request.urlopen(f"{self.base}/readyz", timeout=5).status == 200
        except OSError:
            return False

    @staticmethod
    def wait(done, what):
        deadline = time.monotonic() + WAIT_SECONDS
        while not done():
            if time.monotonic() > deadline:
                raise Failed(f"not {what} after {WAIT_SECONDS} s")
            time.sleep(0.1)

    def campaign(self):
        body = json.dumps({"name": self.name, "totalStock": 100_000_000}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.base}/api/admin/campaigns", body, headers)
        return json.load(urllib.request.urlopen(asked, timeout=10))["id"]


def sell(service, campaigns, connections, seconds, work):
    """One `wrk` for each campaign, all at once."""

    def one(campaign):
        path = f"/api/campaigns/{campaign}/participation"
        words = ["wrk", "-t1", f"-c{connections // len(campaigns)}", f"-d{seconds}s", "--latency", "-s"]
        words += [ROOT / "benches/participate.lua", service.base, "--", path, 1]
        child = Child(words, work / "wrk.log")
        if child.wait(seconds + WAIT_SECONDS) != 0:
            raise Failed(child.tail())
        return told_by_wrk(child.out.read_text())

    with concurrent.futures.ThreadPoolExecutor(len(campaigns)) as threads:
        return list(threads.map(one, campaigns))


def measure(service, cluster, given, seconds, work):
    # Neighbouring ids: the hash puts them on different shards as often as not, and the caller sees how many.
    campaigns = [service.campaign() for _ in range(given.campaigns)]
    listed = ", ".join(map(str, campaigns))
    others = {name: pid_of(f"run/{name}.pid") for name in NAMES if name != "mysql"}
    with Watch({"service": [service.child.pid], **cluster.pids, **others}) as watch:
        began = time.monotonic()
        told = sell(service, campaigns, given.connections, seconds, work)
        took = time.monotonic() - began
        service.wait(lambda: cluster.number(PENDING) == 0, "published")
    accepted = cluster.number(f"SELECT SUM(participation_count) FROM campaign WHERE id IN ({listed})")
    each = {name: 1e6 * cpu / accepted for name, cpu in watch.cpu.items()}
    refused = sum(one["refused"] for one in told)
    latency = {name: max(one[name] for one in told) for name in ("p50", "p99")}
    return {"rate": accepted / took, **latency, "refused": refused, **each, "all": sum(each.values())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-vitess", action="store_true")
    parser.add_argument("--binary", default=ROOT / "target/release/firstcome", type=pathlib.Path)
    parser.add_argument("--campaigns", type=int, default=8)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    name = f"vitess_{os.getpid()}"
    cluster = Cluster(given.without_vitess, name)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        service = Service(given.binary.absolute(), cluster, name, work)
        try:
            measure(service, cluster, given, WARM_SECONDS, work)
            rounds = [measure(service, cluster, given, given.seconds, work) for _ in range(given.rounds)]
        finally:
            service.child.stop()
    for found in [*rounds, {key: spread([one[key] for one in rounds])["median"] for key in rounds[0]}]:
        print("  ".join(f"{key} {value:.1f}" for key, value in found.items()), flush=True)


main()
