"""Toxiproxy's HTTP API, and the faults that are made with it."""

import json
import time
import urllib.request

# What a proxy does to the connections of a part, and for which direction: "up" to the part, "down" from it, or either.
# https://github.com/Shopify/toxiproxy#toxics has the attributes: times in ms (the slicer's delay in µs), rates in KB/s.
FAULTS = [
    ("latency", "either", {"latency": 300, "jitter": 150}),
    ("bandwidth", "either", {"rate": 4}),
    ("slow_close", "down", {"delay": 2000}),
    ("timeout", "either", {"timeout": 0}),
    ("timeout", "either", {"timeout": 700}),
    ("reset_peer", "either", {"timeout": 0}),
    ("reset_peer", "either", {"timeout": 300}),
    ("slicer", "either", {"average_size": 40, "size_variation": 20, "delay": 1500}),
    ("limit_data", "either", {"bytes": 1500}),
]
# A connection that closes slowly must close: it gets a limit of bytes, too.
WITH_SLOW_CLOSE = {"bytes": 3000}
STREAMS = {"up": "upstream", "down": "downstream"}
PARTS = ["mysql", "redis", "kafka"]


class Toxiproxy:
    def __init__(self, address):
        self.base = f"http://{address}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or "null")

    def add(self, part, kind, stream, attributes):
        toxic = {"type": kind, "stream": STREAMS[stream], "toxicity": 1.0, "attributes": attributes}
        self.call("POST", f"/proxies/{part}/toxics", toxic)

    def heal(self):
        """Removes all toxics."""
        self.call("POST", "/reset")


class Fault:
    def __init__(self, part, kind, stream, attributes):
        self.part, self.kind, self.stream, self.attributes = part, kind, stream, attributes

    def __str__(self):
        attributes = ", ".join(f"{key} {value}" for key, value in self.attributes.items())
        return f"{self.part}: {self.kind} {self.stream} ({attributes})"

    def begin(self, toxiproxy):
        toxiproxy.add(self.part, self.kind, self.stream, self.attributes)
        if self.kind == "slow_close":
            toxiproxy.add(self.part, "limit_data", self.stream, WITH_SLOW_CLOSE)


def schedule(random):
    """Every fault at every part once, in a random order, in a random direction."""
    faults = []
    for part in PARTS:
        for kind, stream, attributes in FAULTS:
            way = random.choice(["up", "down"]) if stream == "either" else stream
            faults.append(Fault(part, kind, way, attributes))
    random.shuffle(faults)
    return faults


def play(toxiproxy, faults, seconds, rest, counts):
    """One fault after the other, with a rest in between. `counts` returns the client's counts so far."""
    for fault in faults:
        before = counts()
        began = time.strftime("%H:%M:%S")
        fault.begin(toxiproxy)
        time.sleep(seconds)  # the length of the fault
        toxiproxy.heal()
        time.sleep(rest)  # so that the next one meets working connections
        after = counts()
        seen = ", ".join(f"{after[name] - before[name]} {name}" for name in after)
        print(f"{began} {fault}: {seen}", flush=True)
