#!/usr/bin/env python3
"""Compares two layouts of the outbox on a real MySQL, the same rows and the same transactions:

two   outbox_event (immutable, kept) + outbox_pending (a small row per event, deleted when acknowledged)
one   outbox (the whole event), deleted when acknowledged; what was published is nowhere any more

Measured for each, in turns, so that a slow moment of the machine hits both:
  write   rows/s of writers that commit groups of rows, nobody reading
  drain   rows/s of a relay that reads and deletes what the writers left
  latency commit to read, p50 and p99, with 2,000 rows/s offered and a relay that polls every 2 ms
  scan    time of a poll that finds nothing after a million rows went through while an old snapshot was open

    pip install pymysql
    eval "$(scripts/parts env)"; python3 benches/outbox_tables.py [ROUNDS]
"""
import os
import statistics
import sys
import threading
import time
import uuid
from urllib.parse import urlparse

import pymysql

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
WRITERS, GROUP, WRITE_ROWS = 4, 200, 60_000
BUCKETS = 64
PAYLOAD = (
    '{"participationId":"%s","campaignId":1,"userId":123456,"quantity":1,'
    '"rank":12345,"status":"confirmed","occurredAt":"2026-01-01T00:00:00.000000Z"}'
)
EVENT = (
    "id BINARY(16) NOT NULL PRIMARY KEY, bucket SMALLINT NOT NULL, campaign_id BIGINT NOT NULL,"
    " aggregatetype VARCHAR(32) NOT NULL, aggregateid VARCHAR(64) NOT NULL, type VARCHAR(64) NOT NULL,"
    " message_key VARCHAR(64) NOT NULL, key_sequence INT NOT NULL, `rank` BIGINT NULL,"
    " traceparent VARCHAR(64) NULL, payload TEXT CHARACTER SET utf8mb4 NOT NULL,"
    " created_at DATETIME(6) NOT NULL"
)
SERVER = urlparse(os.environ["FIRSTCOME_DATABASE_URL"])


def connect(schema=None):
    return pymysql.connect(
        host=SERVER.hostname,
        port=SERVER.port,
        user=SERVER.username,
        password=SERVER.password or "",
        database=schema,
        autocommit=True,
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    )


def uuid7():
    moment = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (moment << 80) | (0x7 << 76) | (random & ((1 << 76) - 1))
    return value.to_bytes(16, "big")


class Rows:
    """A group of rows as SQL text, put together once: what is compared is the database."""

    def __init__(self, count):
        self.ids = sorted(uuid7() for _ in range(count))
        self.buckets = [value[15] % BUCKETS for value in self.ids]

    def events(self):
        out = []
        for value, bucket in zip(self.ids, self.buckets):
            name = str(uuid.UUID(bytes=value))
            out.append(
                "(0x%s,%d,1,'participation','%s','firstcome.participation.confirmed','%s',1,7,NULL,'%s',"
                "UTC_TIMESTAMP(6))" % (value.hex(), bucket, name, name, PAYLOAD % name)
            )
        return ",".join(out)

    def pending(self):
        return ",".join("(%d,0x%s,1)" % pair for pair in zip(self.buckets, map(bytes.hex, self.ids)))


class Two:
    name = "two"
    tables = [
        f"CREATE TABLE outbox_event ({EVENT}) CHARACTER SET ascii",
        "CREATE TABLE outbox_pending (bucket SMALLINT NOT NULL, event_id BINARY(16) NOT NULL,"
        " campaign_id BIGINT NOT NULL, hold_until DATETIME(6) NULL, PRIMARY KEY (bucket, event_id))",
    ]

    def statements(self, rows):
        return [
            "INSERT INTO outbox_event VALUES " + rows.events(),
            "INSERT INTO outbox_pending (bucket, event_id, campaign_id) VALUES " + rows.pending(),
        ]

    def read(self, cursor, limit):
        cursor.execute(
            f"SELECT bucket, event_id FROM outbox_pending WHERE bucket IN ({BUCKET_LIST}) AND"
            " (hold_until IS NULL OR hold_until <= UTC_TIMESTAMP(6)) ORDER BY bucket, event_id LIMIT %s",
            (limit,),
        )
        keys = cursor.fetchall()
        for at in range(0, len(keys), 500):
            ids = ",".join("0x" + key[1].hex() for key in keys[at : at + 500])
            cursor.execute(f"SELECT * FROM outbox_event WHERE id IN ({ids})")
            cursor.fetchall()
        return keys

    def delete(self, cursor, keys):
        pairs = ",".join("(%d,0x%s)" % (key[0], key[1].hex()) for key in keys)
        table = "/*+ INDEX(outbox_pending PRIMARY) */ FROM outbox_pending"
        cursor.execute(f"DELETE {table} WHERE (bucket, event_id) IN ({pairs})")


class One:
    name = "one"
    tables = [f"CREATE TABLE outbox ({EVENT}, KEY outbox_bucket (bucket, id)) CHARACTER SET ascii"]

    def statements(self, rows):
        return ["INSERT INTO outbox VALUES " + rows.events()]

    def read(self, cursor, limit):
        cursor.execute(
            f"SELECT bucket, id, outbox.* FROM outbox WHERE bucket IN ({BUCKET_LIST})"
            " ORDER BY bucket, id LIMIT %s",
            (limit,),
        )
        return [row[:2] for row in cursor.fetchall()]

    def delete(self, cursor, keys):
        ids = ",".join("0x" + key[1].hex() for key in keys)
        cursor.execute(f"DELETE FROM outbox WHERE id IN ({ids})")


BUCKET_LIST = ",".join(map(str, range(BUCKETS)))


def commit(connection, statements):
    cursor = connection.cursor()
    connection.begin()
    for statement in statements:
        cursor.execute(statement)
    connection.commit()


def writing(layout, schema):
    groups = [layout.statements(Rows(GROUP)) for _ in range(WRITE_ROWS // GROUP)]
    lock, began = threading.Lock(), time.perf_counter()

    def work():
        connection = connect(schema)
        while True:
            with lock:
                if not groups:
                    return
                group = groups.pop()
            commit(connection, group)

    writers = [threading.Thread(target=work) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return WRITE_ROWS / (time.perf_counter() - began)


def draining(layout, schema):
    cursor, rows, began = connect(schema).cursor(), 0, time.perf_counter()
    while keys := layout.read(cursor, 2_000):
        for at in range(0, len(keys), 500):
            layout.delete(cursor, keys[at : at + 500])
        rows += len(keys)
    return rows / (time.perf_counter() - began)


def latency(layout, schema, seconds=6):
    committed, waits, stop = {}, [], threading.Event()

    def write():
        connection = connect(schema)
        due = time.perf_counter()
        while not stop.is_set():
            rows = Rows(20)
            commit(connection, layout.statements(rows))
            committed[rows.ids[0]] = time.perf_counter()
            due += 0.01
            time.sleep(max(0, due - time.perf_counter()))

    writer = threading.Thread(target=write)
    writer.start()
    cursor, until = connect(schema).cursor(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        keys = layout.read(cursor, 2_000)
        now = time.perf_counter()
        if not keys:
            time.sleep(0.002)
            continue
        waits += [now - committed.pop(key[1]) for key in keys if key[1] in committed]
        for at in range(0, len(keys), 500):
            layout.delete(cursor, keys[at : at + 500])
    stop.set()
    writer.join()
    waits = [max(wait, 0) for wait in waits]
    return statistics.median(waits) * 1_000, statistics.quantiles(waits, n=100)[98] * 1_000


def scanning(layout, schema, rows):
    old = connect(schema)
    old.cursor().execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    old.cursor().execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    old.cursor().execute("SELECT COUNT(*) FROM information_schema.tables")
    connection = connect(schema)
    for _ in range(rows // 1_000):
        commit(connection, layout.statements(Rows(1_000)))
    draining(layout, schema)
    cursor, took = connection.cursor(), []
    for _ in range(5):
        began = time.perf_counter()
        layout.read(cursor, 2_000)
        took.append(time.perf_counter() - began)
    old.close()
    return statistics.median(took) * 1_000


def main():
    layouts = [Two(), One()]
    schemas = {}
    admin = connect().cursor()
    for layout in layouts:
        schemas[layout.name] = f"tables_{layout.name}_{os.getpid()}"
        admin.execute(f"CREATE DATABASE {schemas[layout.name]}")
        cursor = connect(schemas[layout.name]).cursor()
        for table in layout.tables:
            cursor.execute(table)
    found = {layout.name: [] for layout in layouts}
    for number in range(ROUNDS + 1):
        for layout in layouts if number % 2 else layouts[::-1]:
            schema = schemas[layout.name]
            row = (writing(layout, schema), draining(layout, schema), *latency(layout, schema))
            if number:  # The first round warms up.
                found[layout.name].append(row)
            print(number, layout.name, " ".join(f"{value:.1f}" for value in row), flush=True)
    print("layout  write rows/s  drain rows/s  latency p50 ms  p99 ms  scan ms after 1,000,000")
    for layout in layouts:
        middle = [statistics.median(column) for column in zip(*found[layout.name])]
        scan = scanning(layout, schemas[layout.name], 1_000_000)
        print(layout.name, " ".join(f"{value:.1f}" for value in [*middle, scan]), flush=True)
    for schema in schemas.values():
        admin.execute(f"DROP DATABASE {schema}")


main()
