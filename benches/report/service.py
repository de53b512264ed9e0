"""An installation of the service: a schema, a key prefix and topics of its own, and its processes."""

import contextlib
import json
import time
import urllib.error
import urllib.request

from .figures import Metrics
from .processes import Child, Failed, free_port, run

TOKEN = "report-admin-token"
START_SECONDS_MAX = 60
ASK_SECONDS_MAX = 700
SETTLE_SECONDS_MAX = 120
PENDING = """
SELECT (SELECT COALESCE(SUM(c.event_sequence - COALESCE(o.published, 0)), 0)
    FROM campaign c LEFT JOIN outbox_position o ON o.campaign_id = c.id)
  + (SELECT COUNT(*) FROM outbox_parked WHERE state IN ('retry', 'blocked', 'held'))
"""


class Installation(contextlib.ExitStack):
    """Made on entering, gone on leaving: processes ended, schemas dropped, keys forgotten.

    Its topics go with all of the run's at the end, because asking Kafka's tools takes seconds each time.
    """

    def __init__(self, bench, name, **settings):
        super().__init__()
        self.bench, self.parts = bench, bench.parts
        self.name = f"{bench.run}_{name}"
        self.env = {
            **bench.environment,
            **self.parts.env,
            "FIRSTCOME_DATABASE_URL": f"{self.parts.server}/{self.name}",
            "FIRSTCOME_REDIS_PREFIX": self.name,
            "FIRSTCOME_KAFKA_TOPIC_PREFIX": self.name,
            "FIRSTCOME_KAFKA_CREATE_TOPICS": "true",
            "FIRSTCOME_PAYMENT_ALLOW_SIMULATED": "true",
            "FIRSTCOME_ADMIN_TOKEN": TOKEN,
            "FIRSTCOME_AGGREGATION_ENABLED": "false",
            "FIRSTCOME_CONSUMERS_ENABLED": "",
            **settings,
        }
        self.topic = f"{self.name}.participation.v1"

    def __enter__(self):
        super().__enter__()
        self.parts.sql(f"CREATE DATABASE {self.name}")
        self.callback(self.parts.redis.forget, self.name)
        self.callback(
            self.parts.sql, f"DROP DATABASE {self.name}; DROP DATABASE IF EXISTS {self.name}_rewards"
        )
        return self

    def start(self, command="serve", **settings):
        """A process of it that answers."""
        service = Service(self, command, settings)
        self.callback(service.stop)
        service.wait_until_live()
        return service

    def sql(self, statement):
        return self.parts.sql(statement, self.name)

    def number(self, statement):
        return self.parts.number(statement, self.name)

    def pending(self):
        """Events behind the positions of their streams, and parked ones that are still to be published."""
        return self.number(PENDING)

    def wait_until_published(self, seconds_max=SETTLE_SECONDS_MAX):
        deadline = time.monotonic() + seconds_max
        while (left := self.pending()) > 0:
            if time.monotonic() > deadline:
                raise Failed(f"{left} events were not published within {seconds_max} s")
            time.sleep(0.2)

    def command(self, *words, seconds_max=300, codes=(0,)):
        """Runs a command of the service, such as verify, to its end."""
        log = self.bench.work / "command.log"
        return run([self.bench.binary, *words], seconds_max, log, env=self.env, codes=codes)

    def verify(self, *words, seconds_max=SETTLE_SECONDS_MAX):
        """What `firstcome verify` finds once nothing is under way: breaches, in words; none is as it must be."""
        deadline = time.monotonic() + seconds_max
        while True:
            told, child = self.command("verify", "--json", *words, codes=(0, 1))
            report = json.loads(told) if told.strip() else {}
            if child.code == 0:
                return report, []
            if time.monotonic() > deadline:
                return report, breaches(report) or [child.tail(3)]
            time.sleep(1)


def breaches(report):
    """What is wrong in the JSON of verify: campaigns alone, or those and what was found beyond them."""
    if isinstance(report, list):
        report = {"campaigns": report}
    found = [
        f"campaign {campaign['campaignId']}: {breach}"
        for campaign in report.get("campaigns", [])
        for breach in campaign["breaches"]
    ]
    verdict = report.get("topic", {}).get("verdict", {})
    for campaign in verdict.get("campaigns", []):
        found += [f"topic, campaign {campaign['campaignId']}: {breach}" for breach in campaign["breaches"]]
    return found + [f"rewards: {breach}" for breach in report.get("rewards", {}).get("breaches", [])]


class Service:
    """One process."""

    def __init__(self, installation, command, settings):
        self.installation = installation
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.base = f"http://{self.address}"
        bench = installation.bench
        env = {**installation.env, "FIRSTCOME_HTTP_LISTEN": self.address, **settings}
        # Without a command it serves.
        words = [bench.binary] if command == "serve" else [bench.binary, command]
        self.child = Child(words, bench.work / f"{command}-{self.port}.log", env=env)
        self.pid = self.child.pid

    def wait_until_live(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError):
                self.get("/livez")
                return
            if not self.child.running() or time.monotonic() > deadline:
                raise Failed(f"the service did not start\n{self.child.tail()}")
            time.sleep(0.02)

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with contextlib.suppress(OSError):
                self.get("/readyz")
                return
            if time.monotonic() > deadline:
                raise Failed(f"the service is not ready\n{self.child.tail()}")
            time.sleep(0.02)

    def stop(self):
        self.child.stop()

    def get(self, path, timeout=ASK_SECONDS_MAX):
        with urllib.request.urlopen(self.base + path, timeout=timeout) as answer:
            return answer.read().decode()

    def admin(self, method, path, body=None):
        """The JSON that the admin API answers; anything but a success is a Failed."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}/api/admin{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ASK_SECONDS_MAX) as answer:
                told = answer.read()
                return json.loads(told) if told else None
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path} was answered {error.code}: {error.read().decode()}") from error

    def campaign(self, name, **fields):
        """A new campaign that is open; its id."""
        return self.admin("POST", "/campaigns", {"name": name, "kind": "general", **fields})["id"]

    def metrics(self):
        return Metrics(self.get("/metrics"))
