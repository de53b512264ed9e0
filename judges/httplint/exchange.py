"""Exchanges of HTTP/1.1 over a socket, with the heads of responses as they arrive."""

import http.client
import json
import socket
import time

SECONDS_MAX = 20


class Response:
    def __init__(self, title, method, path, status, reason, headers, body, sent=None):
        self.sent = sent or {}
        self.title, self.method, self.path = title, method, path
        self.status, self.reason, self.headers, self.body = status, reason, headers, body
        self.received = time.time()

    def header(self, name):
        """The first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    def json(self):
        return json.loads(self.body)


def fetch(address, title, method, path, headers=None, body=None):
    """Sends a request, and reads its response; of a stream only the beginning."""
    connection = http.client.HTTPConnection(address, timeout=SECONDS_MAX)
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, path, body, headers)
        got = connection.getresponse()
        is_stream = (got.getheader("content-type") or "").startswith("text/event-stream")
        content = got.read1(1 << 16) if is_stream else got.read()
        return Response(title, method, path, got.status, got.reason, got.getheaders(), content, headers)
    finally:
        connection.close()


def parse(title, sent, received):
    """A response that ends with its connection."""
    head, _, body = received.partition(b"\r\n\r\n")
    top, *lines = head.decode("latin-1").split("\r\n")
    _, status, reason = top.split(" ", 2)
    headers = [tuple(line.split(":", 1)) for line in lines]
    headers = [(name, value.strip()) for name, value in headers]
    return Response(title, sent.split(b" ")[0].decode("latin-1"), "/", int(status), reason, headers, body)


def read_all(connection):
    """All bytes until the peer closes; a reset after them is also an end."""
    received = b""
    while True:
        try:
            piece = connection.recv(1 << 16)
        except ConnectionResetError:
            return received
        if not piece:
            return received
        received += piece


def send_raw(address, title, sent):
    """Sends bytes, and reads until the service closes the connection."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), SECONDS_MAX) as connection:
        connection.sendall(sent)
        return parse(title, sent or b"GET", read_all(connection))


def one_too_many(address, title, bound):
    """Opens connections until one more than the bound is refused, unread."""
    host, port = address.rsplit(":", 1)
    opened = []
    try:
        for _ in range(bound):
            opened.append(socket.create_connection((host, int(port)), SECONDS_MAX))
            # The answer says that the connection is counted.
            opened[-1].sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            opened[-1].recv(1 << 16)
        return send_raw(address, title, b"")
    finally:
        for connection in opened:
            connection.close()
