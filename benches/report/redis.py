"""Just enough of Redis' protocol to ask for a few words: the standard library has no client."""

import socket

ANSWER_SECONDS_MAX = 10


class Redis:
    """One connection."""

    def __init__(self, port):
        self.port = port
        self.connection = None

    def ask(self, *words):
        """The answer: text, a number as text, a list, or None. An error is a RuntimeError."""
        if self.connection is None:
            address = ("127.0.0.1", self.port)
            self.connection = socket.create_connection(address, timeout=ANSWER_SECONDS_MAX)
            self.reader = self.connection.makefile("rb")
        self.connection.sendall(request(words))
        return read(self.reader)

    def keys(self, pattern):
        """All keys like this, found in small steps so that nobody waits long."""
        cursor, found = "0", []
        while True:
            cursor, some = self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", "1000")
            found += some
            if cursor == "0":
                return found

    def forget(self, prefix):
        """Removes every key that begins so."""
        keys = self.keys(f"{prefix}*")
        for at in range(0, len(keys), 500):
            self.ask("UNLINK", *keys[at : at + 500])

    def info(self, section):
        lines = self.ask("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def calls(self, command):
        """How often a command was called so far, and how many microseconds it took in all."""
        told = self.info("commandstats").get(f"cmdstat_{command}")
        if told is None:
            return 0, 0
        fields = dict(pair.split("=") for pair in told.split(","))
        return int(fields["calls"]), int(fields["usec"])


def request(words):
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        text = str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(text), text))
    return b"".join(parts)


def read(reader):
    line = reader.readline()
    if not line:
        raise RuntimeError("Redis closed the connection")
    kind, rest = line[:1], line[1:].strip()
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind in b"+:":
        return rest.decode()
    if kind == b"$":
        if rest == b"-1":
            return None
        return reader.read(int(rest) + 2)[:-2].decode()
    return [read(reader) for _ in range(int(rest))]
