"""A balancer in front of the replicas: it records the answer to each request. And a replica that lies."""

import http.client
import itertools
import json
import threading
import time
import urllib.parse
import uuid
from collections import Counter, namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .service import until

# Status 0: no answer, with the reason as its code.
Attempt = namedtuple("Attempt", "kind sent answered status code")
ANSWER_MAX = 10


def send(base, method, path, body, headers):
    """Status, JSON and the reason for a missing answer."""
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=ANSWER_MAX)
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}"), ""
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, {}, type(error).__name__
    finally:
        connection.close()


class Balancer:
    """Requests go to the replicas in rotation, one after the other."""

    def __init__(self):
        self.rotation, self.turn, self.attempts, self.lock = [], itertools.count(), [], threading.Lock()
        self.in_progress = Counter()

    def add(self, base):
        with self.lock:
            self.rotation = [*self.rotation, base]

    def remove(self, base):
        """The replica gets no further requests; waits until it has answered the others."""
        with self.lock:
            self.rotation = [one for one in self.rotation if one != base]
        until("the replica answers its last requests", lambda: self.in_progress[base] == 0)

    def ask(self, kind, method, path, authorization, body=None, key=None):
        """Status and JSON; status 0: no answer."""
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        if key:
            headers["Idempotency-Key"] = key
        with self.lock:
            base = self.rotation[next(self.turn) % len(self.rotation)]
            self.in_progress[base] += 1
        sent = time.monotonic()
        status, made, reason = send(base, method, path, body, headers)
        attempt = Attempt(kind, sent, time.monotonic(), status, reason or made.get("code", ""))
        with self.lock:
            self.attempts.append(attempt)
            self.in_progress[base] -= 1
        return status, made


class Liar:
    """In front of a replica: accepts every tenth participation without it."""

    def __init__(self, base):
        counter = itertools.count(1)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.endswith("/participation") and next(counter) % 10 == 0:
                    campaign = int(self.path.split("/")[3])
                    status, made = 201, {"participationId": str(uuid.uuid4()), "campaignId": campaign, "status": "confirmed"}
                else:
                    headers = {name: value for name, value in self.headers.items() if name != "Host"}
                    headers.pop("Content-Length", None)
                    status, made, _ = send(base, self.command, self.path, json.loads(body) if body else None, headers)
                text = json.dumps(made).encode()
                self.send_response(status or 502)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PATCH = do_POST

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.base = f"http://127.0.0.1:{server.server_port}"
