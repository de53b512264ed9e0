"""Parts of the drill's own, and the service on them."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TOKEN = "drill-admin-token"
PATIENCE = 120
CLIENTS = 8


def say(text):
    print(f"drill: {text}", file=sys.stderr, flush=True)


def parts(*words, **options):
    return subprocess.run([ROOT / "scripts/parts", *words], check=True, **options)


def until(what, is_done, seconds=PATIENCE):
    """Waits until something is true; the drill fails if it takes too long."""
    began = time.monotonic()
    while not is_done():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"drill: {what}: not within {seconds} s")
        time.sleep(0.02)
    return time.monotonic() - began


class Mysql:
    """A server of the drill's own, with global transaction ids and its clients."""

    def __init__(self, role, number):
        self.name = f"drill-{role}-{os.getpid()}"
        settings = [f"server-id={number}", "gtid-mode=ON", "enforce-gtid-consistency=ON", "max-connections=500",
                    "innodb-flush-log-at-trx-commit=1", "sync-binlog=1"]
        told = parts("spare", "up", self.name, "--part", "mysql", "--while", str(os.getpid()), *settings,
                     stdout=subprocess.PIPE, text=True)
        self.address = told.stdout.strip()

    def run(self, program, *words, **options):
        """A client program; its standard input and output are the caller's."""
        reach = ["--host=127.0.0.1", "--port=@port", "--user=root"]
        return parts("spare", "exec", self.name, program, *reach, *words, **options)

    def rows(self, sql):
        told = self.run("mysql", "--batch", "--skip-column-names", "--execute", sql, stdout=subprocess.PIPE, text=True)
        return [line.split("\t") for line in told.stdout.splitlines()]

    def value(self, sql):
        return self.rows(sql)[0][0].replace("\\n", "")

    def verb(self, verb):
        parts("spare", verb, self.name)


class Service:
    """The service on a database, and its commands."""

    def __init__(self, binary, run, mysql, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.binary, self.base = binary, f"http://127.0.0.1:{port}"
        self.log = folder / f"service-{port}.log"
        url = f"mysql://root@{mysql.address}/{run}"
        self.environment = os.environ | {
            "FIRSTCOME_DATABASE_URL": url, "FIRSTCOME_REWARDS_DATABASE_URL": f"{url}_rewards",
            "FIRSTCOME_REDIS_PREFIX": run, "FIRSTCOME_KAFKA_TOPIC_PREFIX": run,
            "FIRSTCOME_KAFKA_CREATE_TOPICS": "true", "FIRSTCOME_CONSUMERS_ENABLED": "points",
            "FIRSTCOME_HTTP_LISTEN": f"127.0.0.1:{port}", "FIRSTCOME_ADMIN_TOKEN": TOKEN,
            "FIRSTCOME_PAYMENT_ALLOW_SIMULATED": "true", "FIRSTCOME_DATA_DIR": str(folder / "data")}
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.binary], env=self.environment, stderr=log, stdout=log)
        return until("the service is ready", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            raise SystemExit(f"drill: the service ended\n{self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        if self.process.wait(PATIENCE) != 0:
            raise SystemExit(f"drill: the service ended badly\n{self.log.read_text()[-3000:]}")

    def command(self, *words):
        return subprocess.run([self.binary, *words], env=self.environment, capture_output=True, text=True, check=False)

    def ask(self, path, body, authorization):
        """Status and JSON; status 0: no answer."""
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(), {
            "Content-Type": "application/json", "Authorization": authorization})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {}
        except (OSError, ValueError):
            return 0, {}

    def create(self, **campaign):
        status, made = self.ask("/api/admin/campaigns", campaign, f"Bearer {TOKEN}")
        assert status == 201, status
        return made["id"]

    def participate(self, campaign, user):
        status, made = self.ask(f"/api/campaigns/{campaign}/participation", {}, str(user))
        return made if status in (200, 201) and "participationId" in made else None


def participations(mysql, run):
    """Of the database: rank, campaign and changes by id."""
    rows = mysql.rows(f"SELECT BIN_TO_UUID(id), campaign_id, `rank`, version FROM {run}.participation")
    return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}


@contextlib.contextmanager
def installation():
    """The shared parts and a binary; at the end, the drill's own parts are gone."""
    binary = os.environ.get("DRILL_BINARY", str(ROOT / "target/debug/firstcome"))
    if not Path(binary).exists():
        subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=ROOT, check=True)
    is_up = subprocess.run([ROOT / "scripts/parts", "status"], capture_output=True, check=False).returncode == 0
    if not is_up:
        parts("up")
    exports = parts("env", stdout=subprocess.PIPE, text=True).stdout
    os.environ.update(re.findall(r"^export (\w+)='?([^'\n]*)'?$", exports, re.M))
    try:
        yield binary
    finally:
        for path in (ROOT / ".parts/spare").glob(f"drill-*-{os.getpid()}"):
            parts("spare", "down", path.name)
        if not is_up:
            parts("down")
