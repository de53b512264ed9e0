"""How long things take to come back: Redis killed and started under traffic, and the service killed and
started again. Called by scripts/bench-recovery, which starts everything and keeps the traffic going.

recovery.py redis BASE CAMPAIGN REDIS_PORT PREFIX
recovery.py service BASE CAMPAIGN REDIS_PORT PREFIX KILLED_AT
"""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request

PAUSE = 0.01


class Redis:
    """Just enough of the protocol to ask for a few words."""

    def __init__(self, port):
        self.port = port
        self.connection = None

    def ask(self, *words):
        """The answer, or None while there is none."""
        try:
            if self.connection is None:
                self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=1)
                self.reader = self.connection.makefile("rb")
            request = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
            self.connection.sendall(request.encode())
            return self.read()
        except (OSError, ValueError):
            self.connection = None
            return None

    def read(self):
        line = self.reader.readline()
        if not line or line.startswith(b"-"):
            raise ValueError(line)
        kind, rest = line[:1], line[1:].strip()
        if kind in b"+:":
            return rest.decode()
        if kind == b"$":
            if rest == b"-1":
                return ""
            return self.reader.read(int(rest) + 2)[:-2].decode()
        return [self.read() for _ in range(int(rest))]


def status(base, campaign):
    try:
        with urllib.request.urlopen(f"{base}/api/campaigns/{campaign}/status", timeout=1) as answer:
            return json.load(answer)["successCount"]
    except (OSError, ValueError):
        return None


class Watch(threading.Thread):
    """The longest stretch in which no participation was committed."""

    def __init__(self, base, campaign):
        super().__init__(daemon=True)
        self.base, self.campaign = base, campaign
        self.longest, self.over = 0.0, False

    def run(self):
        last, since = None, time.monotonic()
        while not self.over:
            count, now = status(self.base, self.campaign), time.monotonic()
            if count is not None and count != last:
                if last is not None:
                    self.longest = max(self.longest, now - since)
                last, since = count, now
            time.sleep(PAUSE)


def until(condition, seconds_max=60):
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds_max:
            sys.exit("recovery: waited in vain")
        time.sleep(PAUSE)
    return time.monotonic()


def parts(*words):
    subprocess.run(["scripts/parts", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def redis_lost(base, campaign, redis, state):
    watch = Watch(base, campaign)
    watch.start()
    time.sleep(2)
    parts("kill", "redis")
    before = status(base, campaign)
    time.sleep(4)
    during = status(base, campaign) - before
    starter = threading.Thread(target=parts, args=("start", "redis"))
    starter.start()
    back = until(lambda: redis.ask("PING") == "PONG")

    def rebuilt():
        run = redis.ask("HGET", state, "run")
        return bool(run) and f"run_id:{run}" in (redis.ask("INFO", "server") or "")

    in_step = until(rebuilt)
    starter.join()
    time.sleep(2)
    watch.over = True
    watch.join()
    print(f"committed in the 4 s without Redis   {during}")
    print(f"gate back after Redis is back        {in_step - back:.2f} s")
    print(f"longest time without a commit        {watch.longest:.2f} s")


def service_back(base, redis, leases, killed_at):
    """Called when the service was killed, at that time since the epoch, and is starting again."""
    began = time.monotonic() - (time.time() - killed_at)

    def ready():
        try:
            with urllib.request.urlopen(f"{base}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    print(f"left behind                          {redis.ask('HLEN', leases)} leases")
    print(f"ready again after kill -9            {until(ready) - began:.2f} s")
    swept = until(lambda: redis.ask("HLEN", leases) == "0")
    print(f"its leases swept after               {swept - began:.2f} s")


def main():
    what, base, campaign, port, prefix, *killed_at = sys.argv[1:]
    redis = Redis(int(port))
    key = f"{prefix}:{{campaign:{campaign}}}"
    if what == "redis":
        redis_lost(base, campaign, redis, f"{key}:state")
    else:
        service_back(base, redis, f"{key}:leases", float(killed_at[0]))


main()
