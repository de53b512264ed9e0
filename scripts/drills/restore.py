"""MySQL is lost, and restored to an earlier moment."""

import csv
import io
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .service import CLIENTS, ROOT, Mysql, Service, installation, participations, parts, say, until

LIMITED = 400


class Clients:
    """Users who participate, and pay for every second reservation, until they are stopped."""

    def __init__(self, service, campaigns):
        self.service, self.campaigns = service, campaigns
        self.accepted, self.lock, self.stopped, self.next_user = [], threading.Lock(), threading.Event(), 1
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stopped.is_set():
            with self.lock:
                user, self.next_user = self.next_user, self.next_user + 1
                campaign = self.campaigns[user % len(self.campaigns)]
            sent = time.time()
            made = self.service.participate(campaign, user)
            if made is None:
                time.sleep(0.01)
                continue
            with self.lock:
                self.accepted.append({"id": made["participationId"], "sent": sent, "answered": time.time()})
            if made.get("status") == "reserved" and user % 2:
                self.service.ask(f"/api/participations/{made['participationId']}/confirm",
                                 {"paymentReference": f"pi_{user}"}, str(user))

    def wait_for_more(self, count):
        wanted = len(self.accepted) + count
        until(f"{count} more participations", lambda: len(self.accepted) >= wanted)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class Restore:
    """One installation that loses its database."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.run = binary, folder, f"drill_{int(time.time())}_{os.getpid()}"
        self.databases = [self.run, f"{self.run}_rewards"]
        self.findings, self.table = [], []

    def hold(self, violation, is_true):
        if not is_true:
            self.findings.append(violation)
            say(f"VIOLATION: {violation}")

    def lose(self):
        """Sells, takes the dump, notes the point, sells on, and loses the database."""
        self.source = Mysql("source", 1)
        tools = ["sh", "-c", "command -v mysqldump mysqlbinlog"]
        if subprocess.run([ROOT / "scripts/parts", "spare", "exec", self.source.name, *tools],
                          stdout=subprocess.DEVNULL, check=False).returncode != 0:
            say("passed over: this MySQL comes without mysqldump or mysqlbinlog, as some images do")
            sys.exit(0)
        for name in self.databases:
            self.source.rows(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        service = Service(self.binary, self.run, self.source, self.folder)
        service.start()
        points = {"kind": "points", "reward": {"points": 5}}
        self.limited = service.create(name="limited", totalStock=LIMITED, **points)
        self.endless = service.create(name="endless", **points)
        paid = service.create(name="paid", kind="general", price=100, holdSeconds=3600)
        clients = Clients(service, [self.limited, self.endless, paid])
        clients.wait_for_more(200)
        with (self.folder / "dump.sql").open("wb") as dump:
            self.source.run("mysqldump", "--single-transaction", "--source-data=2", "--hex-blob", "--routines",
                            "--databases", *self.databases, stdout=dump)
        clients.wait_for_more(200)
        asked = time.time()
        self.point = self.source.value("SELECT @@GLOBAL.gtid_executed")
        self.point_time = self.source.value("SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')")
        clients.wait_for_more(200)
        self.lost_campaign = service.create(name="lost", kind="general")
        clients.campaigns.append(self.lost_campaign)
        clients.wait_for_more(200)
        service.kill()
        clients.stop()
        self.accepted = clients.accepted
        self.before = {one["id"] for one in clients.accepted if one["answered"] < asked}
        self.after = {one["id"] for one in clients.accepted if one["sent"] > asked + 1}
        self.archive()
        self.known = participations(self.source, self.run)
        self.unpublished = {row[0] for row in self.source.rows(
            f"SELECT e.aggregateid FROM {self.run}.outbox_event e LEFT JOIN {self.run}.outbox_position o "
            "ON o.campaign_id = e.campaign_id WHERE e.aggregatetype = 'participation' "
            "AND e.sequence > COALESCE(o.published, 0)")}
        self.source.verb("kill")
        say(f"the database is lost: {len(self.known)} participations, {len(self.accepted)} of them answered")

    def archive(self):
        """The binary log, as it would be on another machine."""
        raw = f"/tmp/{self.source.name}-"
        first = self.source.rows("SHOW BINARY LOGS")[0][0]
        self.source.run("mysqlbinlog", "--read-from-remote-server", "--raw", "--to-last-log", f"--result-file={raw}", first)
        self.logs = []
        for name in [row[0] for row in self.source.rows("SHOW BINARY LOGS")]:
            kept = self.folder / name
            with kept.open("wb") as copy:
                parts("spare", "exec", self.source.name, "cat", raw + name, stdout=copy)
            parts("spare", "exec", self.source.name, "rm", raw + name)
            self.logs.append(kept)

    def restore_mysql(self, target):
        with (self.folder / "dump.sql").open("rb") as dump:
            target.run("mysql", "--binary-mode", stdin=dump)
        inside = []
        for kept in self.logs:
            path = f"/tmp/{target.name}-{kept.name}"
            with kept.open("rb") as copy:
                parts("spare", "exec", target.name, "sh", "-c", f"cat >{path}", stdin=copy)
            inside.append(path)
        statements = self.folder / "log.sql"
        with statements.open("wb") as out:
            parts("spare", "exec", target.name, "mysqlbinlog", f"--include-gtids={self.point}", *inside, stdout=out)
        with statements.open("rb") as log:
            target.run("mysql", "--binary-mode", stdin=log)
        parts("spare", "exec", target.name, "rm", *inside)
        has_all = target.value(f"SELECT GTID_SUBSET('{self.point}', @@GLOBAL.gtid_executed)")
        self.hold("the server lacks transactions up to the point", has_all == "1")

    def restore(self, number, keeps_redis):
        kind = "Redis as it was" if keeps_redis else "Redis emptied"
        say(f"restoring; {kind}")
        began = time.monotonic()
        target = Mysql(f"target{number}", 10 + number)
        self.restore_mysql(target)
        restored_after = time.monotonic() - began
        restored = participations(target, self.run)
        service = Service(self.binary, self.run, target, self.folder)
        told = service.command("restored", "--to", self.point_time, "--yes", *(["--keep-redis"] if keeps_redis else []))
        self.hold(f"`restored` failed: {told.stderr}", told.returncode == 0)
        say(told.stdout.strip().replace("\n", "; "))
        self.judge_restored(restored)
        lost = self.judge_named(service, restored)
        ready_after = service.start() and time.monotonic() - began
        until("a participation is accepted", lambda: service.participate(self.endless, 1_000_000 + number))
        first_yes = time.monotonic() - began
        self.sell_out(service, target, number)
        sold_after = time.monotonic() - began
        self.judge_after(service, target, number, lost)
        service.stop()
        for one, row in participations(target, self.run).items():
            self.known[one] = max(row, self.known.get(one, row), key=lambda row: row[2])
        target.verb("down")
        self.table.append((kind, len(lost), restored_after, ready_after, first_yes, sold_after))

    def judge_restored(self, restored):
        missing = self.before - restored.keys()
        self.hold(f"{len(missing)} participations answered before the point are missing", not missing)
        beyond = self.after & restored.keys()
        self.hold(f"{len(beyond)} participations sent after the point exist", not beyond)
        moved = [one for one in restored if restored[one][:2] != self.known[one][:2]]
        self.hold(f"{len(moved)} participations have another campaign or rank than before", not moved)

    def judge_named(self, service, restored):
        """Everything lost that Kafka knows is listed, with its status."""
        told = service.command("outbox", "ahead")
        self.hold(f"`outbox ahead` failed: {told.stderr}", told.returncode == 0)
        rows = list(csv.DictReader(io.StringIO(told.stdout)))
        missing = {row["participationId"] for row in rows if not row["databaseStatus"]}
        earlier = {row["participationId"] for row in rows if row["databaseStatus"]}
        lost = self.known.keys() - restored.keys()
        changed = {one for one in restored if restored[one][2] < self.known[one][2]}
        for what, named, expected in [("lost", missing, lost), ("changed", earlier, changed)]:
            self.hold(f"{what} participations that are not listed: {expected - named - self.unpublished}",
                      not expected - named - self.unpublished)
            self.hold(f"listed as {what}, but not {what}: {named - expected}", not named - expected)
        self.hold("the drill lost no participation, or no payment", lost and changed)
        say(f"lost: {len(lost)}, of which {len(missing)} are in Kafka; in an earlier status: {len(earlier)}")
        return lost

    def sell_out(self, service, target, number):
        """Every unit that was not committed can be sold again."""
        users = itertools.count(2_000_000 * (number + 1))
        left = f"SELECT total_stock - committed_units FROM {self.run}.campaign WHERE id = {self.limited}"

        def is_sold():
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(service.participate, [self.limited] * 50, itertools.islice(users, 50)))
            return target.value(left) == "0"
        until("every unit is sold", is_sold)

    def judge_after(self, service, target, number, lost):
        waiting = (f"SELECT COUNT(*) FROM {self.run}.outbox_event e LEFT JOIN {self.run}.outbox_position o ON "
                   "o.campaign_id = e.campaign_id WHERE e.aggregatetype = 'participation' "
                   "AND e.sequence > COALESCE(o.published, 0)")
        until("every event is published", lambda: target.value(waiting) == "0")
        created = service.create(name="new", kind="general")
        self.hold(f"campaign {created} has the number of a lost one", created > self.lost_campaign)
        ranks = target.rows(f"SELECT campaign_id, COUNT(*), COUNT(DISTINCT `rank`), MIN(`rank`) FROM {self.run}.participation "
                            "GROUP BY campaign_id")
        self.hold(f"a rank was given twice: {ranks}", all(row[1] == row[2] and row[3] == "1" for row in ranks))
        clean = lambda: service.command("verify").returncode == 0
        until("`verify` finds nothing", clean)
        topic = service.command("verify", "--topic", "--json")
        verdict = json.loads(topic.stdout)["topic"]["verdict"]
        phantoms = sum(one["phantoms"] for one in verdict["campaigns"])
        self.hold("`verify --topic` does not report the phantoms", topic.returncode != 0 and phantoms > 0)
        self.hold(f"events are lost: {verdict}", not any(one["lost"] for one in verdict["campaigns"]))
        rewarded = lambda: service.command("verify", "--rewards", "--rewards-passed-seconds", "0").returncode == 0
        until("`verify --rewards` finds nothing", rewarded)
        of_lost = target.rows(f"SELECT DISTINCT BIN_TO_UUID(i.participation_id) FROM {self.run}_rewards.inbox i LEFT JOIN "
                              f"{self.run}.participation p ON p.id = i.participation_id WHERE p.id IS NULL")
        self.hold("rewards belong to unknown participations", {row[0] for row in of_lost} <= lost)
        say(f"phantoms in the topic: {phantoms}; lost participations with rewards: {len(of_lost)}")

    def report(self):
        print("| | lost | MySQL restored | ready | first acceptance | every unit sold |\n|---|---|---|---|---|---|")
        for kind, lost, restored, ready, first, sold in self.table:
            print(f"| {kind} | {lost} | {restored:.1f} s | {ready:.1f} s | {first:.1f} s | {sold:.1f} s |")
        return 1 if self.findings else 0


def run(folder):
    with installation() as binary:
        drill = Restore(binary, folder)
        drill.lose()
        for number, keeps_redis in enumerate([True, False]):
            drill.restore(number, keeps_redis)
        return drill.report()
