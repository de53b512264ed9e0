"""A client that sells units: each thread takes units for new users with an Idempotency-Key, and repeats a request until
the outcome is known. Records every answer."""

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter

REQUEST_SECONDS_MAX = 15  # more than the service's http.request_timeout
PAUSE_SECONDS = 0.02  # between two units of a thread
REPEAT = {408, 429, 503}
REPLAYED_ONE_IN = 5  # so often a successful request is sent again


class Wish:
    """A unit for a user. `outcome` is the definite answer: (status, body)."""

    def __init__(self, campaign, user, key):
        self.campaign, self.user, self.key = campaign, user, key
        self.outcome = None


class Shop:
    def __init__(self, address, token, seed):
        self.address, self.token, self.seed = address, token, seed
        self.lock = threading.Lock()
        self.wishes, self.faults = [], []  # faults: answers that the documents rule out
        self.answers = Counter()
        self.users = 0
        self.stop = threading.Event()

    def call(self, method, path, body=None, headers=None, timeout=REQUEST_SECONDS_MAX):
        """Returns status, headers and body; raises OSError or HTTPException without an answer."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, "/api" + path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, json.loads(answer.read() or "null")
        finally:
            connection.close()

    def admin(self, method, path, body=None):
        return self.call(method, path, body, {"Authorization": f"Bearer {self.token}"})[2]

    def campaign(self, stock):
        return self.admin("POST", "/admin/campaigns", {"name": "Poisoned", "totalStock": stock, "reward": {"points": 10}})["id"]

    def wrong(self, what):
        with self.lock:
            self.faults.append(what)

    def send(self, wish):
        """Sends a wish once; returns (status, body), or None if the outcome is open."""
        path = f"/campaigns/{wish.campaign}/participation"
        try:
            status, headers, body = self.call("POST", path, {"userId": wish.user}, {"Idempotency-Key": wish.key})
        except (OSError, http.client.HTTPException):
            self.count("no answer")
            return None
        self.count(str(status))
        if status in REPEAT:
            if "Retry-After" not in headers:
                self.wrong(f"{status} without Retry-After: {body}")
            return None
        if status >= 500:
            self.wrong(f"{status}: {body}")
            return None
        return status, body

    def count(self, what):
        with self.lock:
            self.answers[what] += 1

    def counts(self):
        with self.lock:
            return {**{str(status): 0 for status in (201, 409, 503)}, "no answer": 0, **self.answers}

    def take(self, campaign, rng, deadline=float("inf")):
        """Wishes for a unit until the outcome is known, the deadline is over or the shop stops."""
        with self.lock:
            self.users += 1
            wish = Wish(campaign, self.users, str(uuid.UUID(int=rng.getrandbits(128))))
            self.wishes.append(wish)
        return self.settle(wish, rng, deadline)

    def settle(self, wish, rng, deadline):
        while wish.outcome is None and time.monotonic() < deadline and not self.stop.is_set():
            wish.outcome = self.send(wish)
            if wish.outcome is None:
                time.sleep(0.1)  # less than Retry-After: an impatient client
        if wish.outcome and rng.randrange(REPLAYED_ONE_IN) == 0:
            again = self.send(wish)
            if again and (again[0], again[1].get("participationId")) != (wish.outcome[0], wish.outcome[1].get("participationId")):
                self.wrong(f"the key {wish.key} got {wish.outcome} and then {again}")
        return wish.outcome

    def sell(self, number, campaigns):
        """What a thread does."""
        rng = random.Random(f"{self.seed}/{number}")
        while not self.stop.is_set():
            self.take(rng.choice(campaigns), rng)
            self.stop.wait(PAUSE_SECONDS)

    def open(self, threads, campaigns):
        self.threads = [threading.Thread(target=self.sell, args=(number, campaigns)) for number in range(threads)]
        for thread in self.threads:
            thread.start()

    def close(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.stop.clear()

    def undecided(self):
        return [wish for wish in self.wishes if wish.outcome is None]
