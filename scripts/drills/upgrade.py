"""Replicas of one release are replaced by another one, back and forth, under traffic: docs/upgrading.md."""

import itertools
import json
import os
import subprocess
import time
from collections import Counter, namedtuple
from concurrent.futures import ThreadPoolExecutor

from . import releases
from .balancer import Balancer, Liar
from .service import CLIENTS, TOKEN, Mysql, Service, installation, parts, say, until
from .traffic import Traffic

LIMITED = 50
# Seconds between two steps, and fewer for the short form.
MIXED, SHORT = 8, 2
# Longest time without an acceptance that the drill allows.
GAP_MAX = 5
TALLIES = ["distinct", "redelivered", "outOfOrder", "gaps", "lost", "phantoms"]
Options = namedtuple("Options", "short broken")
Options.of = staticmethod(lambda words: {
    (): Options(False, None), ("--short",): Options(True, None),
    ("--break", "kill"): Options(True, "kill"), ("--break", "lie"): Options(True, "lie")}.get(tuple(words)))
Step = namedtuple("Step", "name began ready")


def run(folder, options):
    with installation() as binary:
        old = binary if options.short and "DRILL_OLD_BINARY" not in os.environ else releases.binary()
        drill = Upgrade(old, binary, folder, options)
        try:
            return drill.drill()
        finally:
            drill.end()


class Upgrade:
    """One installation of two replicas."""

    def __init__(self, old, new, folder, options):
        self.old, self.new, self.options, self.run = old, new, options, f"drill_{int(time.time())}_{os.getpid()}"
        self.findings, self.steps, self.replicas, self.fronts = [], [], [], {}
        say(f"old: {self.version(old)}; new: {self.version(new)}" + ("; one build in both roles" if old == new else ""))
        self.mysql = Mysql("upgrade", 1)
        for name in [self.run, f"{self.run}_rewards"]:
            self.mysql.rows(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        redis = parts("spare", "up", f"drill-redis-{os.getpid()}", "--part", "redis", "--while", str(os.getpid()),
                      "appendonly=yes", "save=", stdout=subprocess.PIPE, text=True).stdout.strip()
        self.replicas = [Service(old, self.run, self.mysql, folder) for _ in range(2)]
        for number, replica in enumerate(self.replicas):
            replica.environment |= {"FIRSTCOME_REDIS_URL": f"redis://{redis}", "FIRSTCOME_DATA_DIR": str(folder / f"data{number}")}
        self.balancer = Balancer()

    @staticmethod
    def version(binary):
        return subprocess.run([binary, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    def hold(self, violation, is_true):
        if not is_true:
            self.findings.append(violation)
            say(f"VIOLATION: {violation}")

    def end(self):
        for replica in self.replicas:
            if replica.process and replica.process.poll() is None:
                replica.kill()

    def drill(self):
        first, second = self.replicas
        for replica in self.replicas:
            replica.start()
            self.join(replica)
        points = {"kind": "points", "reward": {"points": 5}}
        self.limited = first.create(name="limited", totalStock=LIMITED, **points)
        campaigns = [self.limited, first.create(name="endless", **points), first.create(name="open", **points, cancellable=True),
                     first.create(name="paid", kind="general", price=100, holdSeconds=3600)]
        self.traffic = Traffic(self.balancer, campaigns, self.limited)
        self.settle("both old")
        self.step("migrate by the new build", self.migrate)
        self.step("the first replica becomes new", lambda: self.replace(first, self.new))
        self.settle("old beside new")
        self.step("the second becomes new", lambda: self.replace(second, self.new))
        self.settle("both new")
        self.step("the first rolls back", lambda: self.replace(first, self.old))
        self.settle("old beside new again")
        self.step("the first becomes new again", lambda: self.replace(first, self.new))
        self.settle("both new, to the end")
        self.ended = time.monotonic()
        self.traffic.stop()
        self.judge()
        for replica in self.replicas:
            replica.stop()
        return self.report()

    def step(self, name, work):
        began = time.monotonic()
        self.steps.append(Step(name, began, None))
        ready = work()
        self.steps[-1] = Step(name, began, ready)
        say(f"{name}: {time.monotonic() - began:.1f} s")

    def settle(self, name):
        """The traffic goes on for a while."""
        self.steps.append(Step(name, time.monotonic(), None))
        time.sleep(SHORT if self.options.short else MIXED)
        self.traffic.wait_for_more(20)

    def migrate(self):
        """By the new build, while the old one serves. Without a migration of its own, the drill adds one."""
        replica = self.replicas[0]
        applied = lambda: self.mysql.rows(f"SELECT version FROM {self.run}.seaql_migrations")
        before = applied()
        told = subprocess.run([self.new, "migrate"], env=replica.environment, capture_output=True, text=True, check=False)
        self.hold(f"`firstcome migrate` failed: {told.stderr}", told.returncode == 0)
        if applied() == before:
            self.add_to_schema()

    def add_to_schema(self):
        """What a later release may do: a column in each table."""
        for schema, applied in [(self.run, "seaql_migrations"), (f"{self.run}_rewards", "rewards_migrations")]:
            tables = self.mysql.rows(f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{schema}' "
                                     "AND table_name NOT LIKE '%\\_migrations'")
            add = [f"ALTER TABLE {schema}.{table} ADD COLUMN drill_note INTEGER NOT NULL DEFAULT 7" for [table] in tables]
            record = f"INSERT INTO {schema}.{applied} (version, applied_at) VALUES ('9999_drill_additive', 0)"
            self.mysql.rows("; ".join([*add, record]))
            say(f"a column was added to {len(tables)} tables of {schema}")

    def replace(self, replica, binary):
        """Takes a replica out of the balancer, stops it, and starts another build in its place."""
        if self.options.broken == "kill":
            replica.kill()
            self.leave(replica)
        else:
            self.leave(replica)
            replica.stop()
        replica.binary = binary
        ready = replica.start()
        self.join(replica)
        return ready

    def join(self, replica):
        is_lying = self.options.broken == "lie" and len(self.steps) > 2 and replica.binary == self.new
        self.fronts[replica.base] = Liar(replica.base).base if is_lying else replica.base
        self.balancer.add(self.fronts[replica.base])

    def leave(self, replica):
        self.balancer.remove(self.fronts[replica.base])

    def judge(self):
        self.hold(f"the traffic has failed: {self.traffic.failures}", not self.traffic.failures)
        self.judge_attempts()
        self.sell_out()
        waiting = (f"SELECT COUNT(*) FROM {self.run}.outbox_event e LEFT JOIN {self.run}.outbox_position o ON "
                   "o.campaign_id = e.campaign_id WHERE e.aggregatetype = 'participation' "
                   "AND e.sequence > COALESCE(o.published, 0)")
        until("every event is published", lambda: self.mysql.value(waiting) == "0")
        clean = lambda: self.replicas[1].command("verify").returncode == 0
        until("`verify` finds nothing", clean)
        self.judge_rows()
        self.judge_topic()
        rewarded = lambda: self.replicas[1].command("verify", "--rewards", "--rewards-passed-seconds", "0").returncode == 0
        until("`verify --rewards` finds nothing", rewarded)

    def judge_attempts(self):
        unanswered = [one for one in self.balancer.attempts if one.status == 0]
        self.hold(f"{len(unanswered)} requests got no answer: {Counter(one.code for one in unanswered)}", not unanswered)
        errors = [one for one in self.balancer.attempts if one.status >= 500 and one.status != 503]
        self.hold(f"{len(errors)} requests failed: {Counter(one.status for one in errors)}", not errors)
        self.hold(f"no acceptance for {self.longest_gap():.1f} s", self.longest_gap() <= GAP_MAX)
        self.hold(f"repeated requests were rejected: {self.traffic.contradictions}", not self.traffic.contradictions)
        admin = Counter(one.status for one in self.balancer.attempts if one.kind == "admin")
        self.hold(f"no change by the administrator succeeded: {admin}", admin[200] and admin[201])

    def judge_rows(self):
        """What was answered is in the database, and no campaign or user has more than its limit."""
        rows = self.mysql.rows(f"SELECT BIN_TO_UUID(id), campaign_id, user_id, status FROM {self.run}.participation")
        known = {row[0]: (int(row[1]), int(row[2])) for row in rows}
        status = {row[0]: row[3] for row in rows}
        missing = [one for one, place in self.traffic.accepted.items() if known.get(one) != place]
        self.hold(f"{len(missing)} accepted participations are not in the database", not missing)
        for what, answered in [("confirmed", self.traffic.confirmed), ("cancelled", self.traffic.cancelled)]:
            other = [one for one in answered if status.get(one) != what]
            self.hold(f"{len(other)} participations were answered as {what}, and are not", not other)
            self.hold(f"the drill had nothing {what}", answered)
        oversold = self.mysql.rows(
            f"SELECT c.id, c.total_stock, c.committed_units, SUM(p.quantity) FROM {self.run}.campaign c "
            f"JOIN {self.run}.participation p ON p.campaign_id = c.id AND p.status IN ('reserved', 'confirmed') "
            "GROUP BY c.id HAVING SUM(p.quantity) <> c.committed_units OR SUM(p.quantity) > c.total_stock")
        self.hold(f"campaigns with other units than participations, or oversold: {oversold}", not oversold)
        twice = self.mysql.rows(f"SELECT campaign_id, user_id FROM {self.run}.participation WHERE status IN "
                                "('reserved', 'confirmed') GROUP BY campaign_id, user_id HAVING SUM(quantity) > 1")
        self.hold(f"users above their limit: {twice}", not twice)
        say(f"{len(known)} participations, {len(self.traffic.accepted)} of them answered to the clients")

    def judge_topic(self):
        """Each event is published, in the order of its key; redeliveries are told."""
        topic = self.replicas[1].command("verify", "--topic", "--json")
        verdict = json.loads(topic.stdout)["topic"]["verdict"]
        self.hold(f"`verify --topic`: {verdict['examples']}", topic.returncode == 0)
        total = lambda name: sum(one.get(name) or 0 for one in verdict["campaigns"])
        events = int(self.mysql.value(f"SELECT COUNT(*) FROM {self.run}.outbox_event WHERE aggregatetype = 'participation'"))
        self.hold(f"{events} events, of which {total('distinct')} are in the topic", events == total("distinct"))
        say(f"topic: {total('records')} records, " + ", ".join(f"{total(name)} {name}" for name in TALLIES))

    def sell_out(self):
        """Every unit that was not committed can be sold, also those that an administrator adds."""
        path = f"/api/admin/campaigns/{self.limited}"
        status, now = self.balancer.ask("admin", "GET", path, f"Bearer {TOKEN}")
        status, _ = self.balancer.ask("admin", "PATCH", path, f"Bearer {TOKEN}", {"totalStock": now["totalStock"] + 100})
        self.hold(f"the stock cannot be raised: {status}", status == 200)
        users = itertools.count(2_000_000)
        left = f"SELECT total_stock - committed_units FROM {self.run}.campaign WHERE id = {self.limited}"

        def is_sold():
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(self.replicas[0].participate, [self.limited] * 50, itertools.islice(users, 50)))
            return self.mysql.value(left) == "0"
        until("every unit is sold", is_sold)

    def acceptances(self):
        return sorted(one.answered for one in self.balancer.attempts if one.kind == "participate" and one.status in (200, 201))

    def gaps(self):
        """The times between two acceptances, by the time of the second one."""
        times = [*self.acceptances(), self.ended]
        return [(later, later - earlier) for earlier, later in itertools.pairwise(times)]

    def longest_gap(self):
        return max(length for _, length in self.gaps())

    def report(self):
        print("| step | new replica ready | accepted | cancelled or paid | 503 | no answer | longest time without an acceptance |"
              "\n|---|---|---|---|---|---|---|")
        ends = [step.began for step in self.steps[1:]] + [self.ended]
        gaps = self.gaps()
        for step, end in zip(self.steps, ends):
            of_step = [one for one in self.balancer.attempts if step.began <= one.answered < end]
            accepted = sum(one.kind == "participate" and one.status in (200, 201) for one in of_step)
            changed = sum(one.kind in ("cancel", "confirm") and one.status == 200 for one in of_step)
            busy, none = (sum(one.status == status for one in of_step) for status in (503, 0))
            longest = max((length for later, length in gaps if step.began <= later <= end), default=end - step.began)
            ready = f"{step.ready:.1f} s" if step.ready else ""
            print(f"| {step.name} | {ready} | {accepted} | {changed} | {busy} | {none} | {longest:.2f} s |")
        return 1 if self.findings else 0
