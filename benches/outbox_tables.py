#!/usr/bin/env python3
"""Compares two layouts of participations and their outbox on a real MySQL, the same rows in the same transactions:

pending  the tables before: participation by id with three indexes, outbox_event by id, and a row of outbox_pending
         for each event, deleted when it is acknowledged
log      the tables now: participation by (campaign, rank), outbox_event by (campaign, sequence), and the position of
         each stream; nothing is deleted

Measured for each, in turns, so that a slow moment of the machine hits both:
  write  rows/s of writers that commit groups of rows, each with a campaign of its own, nobody reading
  drain  rows/s of a relay that reads what the writers left and records that it is acknowledged

With each rate, the microseconds of processor time that mysqld took for a row, if /proc shows its process here.

    pip install pymysql
    eval "$(scripts/parts env)"; python3 benches/outbox_tables.py [ROUNDS]

With `--yardstick` only one writer fills the tables `pending` a few times, and the last line is the rows/s and the
microseconds of mysqld for a row: what the processors of this machine are worth at this moment (scripts/bench-pairs).
"""
import glob
import os
import statistics
import sys
import threading
import time
import uuid
from urllib.parse import urlparse

import pymysql

IS_YARDSTICK = "--yardstick" in sys.argv
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 and not IS_YARDSTICK else 5
WRITERS, GROUP, ROWS, READ, ACKNOWLEDGED = 4, 256, 61_440, 2_000, 500
if IS_YARDSTICK:
    WRITERS, ROWS = 1, 10_240
NOW = "UTC_TIMESTAMP(6)"
PAYLOAD = (
    '{"campaignId":%d,"occurredAt":"2026-01-01T00:00:00.000000Z","participationId":"%s","quantity":1,'
    '"rank":%d,"status":"confirmed","userId":%d}'
)
CAMPAIGN = "CREATE TABLE campaign (id BIGINT PRIMARY KEY, units BIGINT NOT NULL, event_sequence BIGINT NOT NULL)"
PARTICIPATION = (
    "CREATE TABLE participation (id BINARY(16) NOT NULL, campaign_id BIGINT NOT NULL, `rank` BIGINT NOT NULL,"
    " user_id BIGINT NOT NULL, quantity INT NOT NULL, ordinal INT NULL, status VARCHAR(16) NOT NULL,"
    " remaining BIGINT NULL, amount BIGINT NULL, payment_reference VARCHAR(128) NULL, version INT NOT NULL,"
    " expires_at DATETIME(6) NULL, rewarded_at DATETIME(6) NULL, created_at DATETIME(6) NOT NULL,"
    " updated_at DATETIME(6) NOT NULL, UNIQUE (user_id, campaign_id, ordinal), %s) CHARACTER SET ascii"
)
EVENT = (
    "CREATE TABLE outbox_event (id BINARY(16) NOT NULL, campaign_id BIGINT NOT NULL, %s BIGINT NOT NULL,"
    " aggregatetype VARCHAR(32) NOT NULL, aggregateid VARCHAR(64) NOT NULL, type VARCHAR(64) NOT NULL,"
    " message_key VARCHAR(64) NOT NULL, key_sequence INT NOT NULL, `rank` BIGINT NULL,"
    " traceparent VARCHAR(64) NULL, payload TEXT CHARACTER SET utf8mb4 NOT NULL,"
    " created_at DATETIME(6) NOT NULL, %s) CHARACTER SET ascii"
)
SERVER = urlparse(os.environ["FIRSTCOME_DATABASE_URL"])


class Pending:
    name = "pending"
    tables = [
        CAMPAIGN,
        PARTICIPATION % "PRIMARY KEY (id), UNIQUE (campaign_id, `rank`), KEY (expires_at)",
        EVENT % ("bucket", "PRIMARY KEY (id), UNIQUE (campaign_id, `rank`, key_sequence)"),
        "CREATE TABLE outbox_pending (bucket SMALLINT NOT NULL, event_id BINARY(16) NOT NULL, campaign_id BIGINT"
        " NOT NULL, stream VARCHAR(32) CHARACTER SET ascii NOT NULL, key_hash INT NOT NULL,"
        " hold_until DATETIME(6) NULL, PRIMARY KEY (bucket, event_id))",
    ]

    def more(self, campaign, rows):
        pending = (
            f"({one[15] % 64},0x{event.hex()},{campaign},'participation',{rank})" for one, event, rank in rows
        )
        into = "INSERT INTO outbox_pending (bucket, event_id, campaign_id, stream, key_hash) VALUES "
        return [into + ",".join(pending)]

    def number(self, one, rank):
        return one[15] % 64

    def drain(self, cursor):
        rows = 0
        while cursor.execute(
            f"SELECT bucket, event_id FROM outbox_pending WHERE bucket IN ({','.join(map(str, range(64)))})"
            f" ORDER BY bucket, event_id LIMIT {READ}"
        ):
            keys = cursor.fetchall()
            for at in range(0, len(keys), ACKNOWLEDGED):
                some = keys[at : at + ACKNOWLEDGED]
                ids = ",".join("0x" + event.hex() for _, event in some)
                cursor.execute(f"SELECT * FROM outbox_event WHERE id IN ({ids})")
                cursor.fetchall()
                pairs = ",".join(f"({bucket},0x{event.hex()})" for bucket, event in some)
                table = "/*+ INDEX(outbox_pending PRIMARY) */ FROM outbox_pending"
                cursor.execute(f"DELETE {table} WHERE (bucket, event_id) IN ({pairs})")
            rows += len(keys)
        return rows


class Log:
    name = "log"
    tables = [
        CAMPAIGN,
        PARTICIPATION % "PRIMARY KEY (campaign_id, `rank`), UNIQUE (id)",
        EVENT % ("sequence", "PRIMARY KEY (campaign_id, sequence)"),
        "CREATE TABLE outbox_position (campaign_id BIGINT PRIMARY KEY, published BIGINT NOT NULL)",
    ]

    def more(self, campaign, rows):
        return []

    def number(self, one, rank):
        return rank

    def drain(self, cursor):
        cursor.execute(
            "SELECT c.id, COALESCE(o.published, 0), c.event_sequence FROM campaign c"
            " LEFT JOIN outbox_position o ON o.campaign_id = c.id"
        )
        rows = 0
        for campaign, published, end in cursor.fetchall():
            for after in range(published, end, READ):
                rows += cursor.execute(
                    f"SELECT * FROM outbox_event WHERE campaign_id = {campaign} AND sequence > {after}"
                    f" ORDER BY sequence LIMIT {READ}"
                )
                cursor.fetchall()
                # As often as the other layout deletes.
                for last in range(min(after + ACKNOWLEDGED, end), min(after + READ, end) + 1, ACKNOWLEDGED):
                    self.move(cursor, campaign, last)
            self.move(cursor, campaign, end)
        return rows

    def move(self, cursor, campaign, published):
        cursor.execute(
            f"INSERT INTO outbox_position VALUES ({campaign},{published}) AS moved"
            " ON DUPLICATE KEY UPDATE published = GREATEST(outbox_position.published, moved.published)"
        )


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
    random = int.from_bytes(os.urandom(10), "big") & ((1 << 76) - 1)
    return (time.time_ns() // 1_000_000 << 80 | 7 << 76 | random).to_bytes(16, "big")


def transaction(layout, campaign, first):
    """The statements of one transaction, put together beforehand: what is compared is the database."""
    rows = [(uuid7(), uuid7(), rank) for rank in range(first, first + GROUP)]
    participations, events = [], []
    for one, event, rank in rows:
        name, user = str(uuid.UUID(bytes=one)), rank * 7_919 % 100_000_007
        participations.append(f"(0x{one.hex()},{campaign},{rank},{user},1,1,'confirmed',1,1,{NOW},{NOW})")
        events.append(
            f"(0x{event.hex()},{campaign},{layout.number(one, rank)},'participation','{name}',"
            f"'firstcome.participation.confirmed','{name}',1,{rank},NULL,"
            f"'{PAYLOAD % (campaign, name, rank, user)}',{NOW})"
        )
    return [
        "BEGIN",
        f"UPDATE campaign SET units = units + {GROUP}, event_sequence = LAST_INSERT_ID(event_sequence + {GROUP})"
        f" WHERE id = {campaign}",
        "INSERT INTO participation (id, campaign_id, `rank`, user_id, quantity, ordinal, status, remaining, version,"
        " created_at, updated_at) VALUES " + ",".join(participations),
        "INSERT INTO outbox_event VALUES " + ",".join(events),
        *layout.more(campaign, rows),
        "COMMIT",
    ]


def writing(layout, schema, number):
    """Starts the writers when all statements are there. Returns the seconds that they took."""
    each = ROWS // WRITERS
    work = [
        [transaction(layout, campaign, number * each + at + 1) for at in range(0, each, GROUP)]
        for campaign in range(1, WRITERS + 1)
    ]

    def write(transactions):
        cursor = connect(schema).cursor()
        for statements in transactions:
            for statement in statements:
                cursor.execute(statement)

    writers = [threading.Thread(target=write, args=(transactions,)) for transactions in work]
    began = Spent()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return began.per_row(ROWS)


def draining(layout, schema):
    cursor, began = connect(schema).cursor(), Spent()
    rows = layout.drain(cursor)
    if rows != ROWS:
        raise SystemExit(f"{layout.name}: {rows} rows drained of {ROWS}")
    return began.per_row(rows)


class Spent:
    """The time from now on: of the clock, and of mysqld's processors."""

    def __init__(self):
        self.clock, self.processor = time.perf_counter(), processor_seconds()

    def per_row(self, rows):
        """Rows a second, and microseconds of mysqld for one; NaN: its process is not here."""
        took = processor_seconds() - self.processor
        return rows / (time.perf_counter() - self.clock), took * 1e6 / rows


def mysqld():
    """The process that listens on the server's port; none: it is not on this machine, or not ours to see."""
    wanted = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as lines:
            for fields in map(str.split, lines):
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == SERVER.port:
                    wanted.add(f"socket:[{fields[9]}]")
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) in wanted:
                return link.split("/")[2]
        except OSError:
            continue
    return None


def processor_seconds():
    if PID is None:
        return float("nan")
    with open(f"/proc/{PID}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


PID = mysqld()


def main():
    layouts, admin = [Pending()] if IS_YARDSTICK else [Pending(), Log()], connect().cursor()
    schemas = {layout.name: f"tables_{layout.name}_{os.getpid()}" for layout in layouts}
    for layout in layouts:
        admin.execute(f"CREATE DATABASE {schemas[layout.name]}")
        cursor = connect(schemas[layout.name]).cursor()
        for table in layout.tables:
            cursor.execute(table)
        for campaign in range(1, WRITERS + 1):
            cursor.execute(f"INSERT INTO campaign VALUES ({campaign}, 0, 0)")
    try:
        if IS_YARDSTICK:
            [(layout, schema)] = zip(layouts, schemas.values())
            rounds = [writing(layout, schema, number) for number in range(4)]
            print(*(f"{statistics.median(column):.1f}" for column in zip(*rounds[1:])))
            return
        found = {layout.name: [] for layout in layouts}
        print("round layout   write rows/s  us/row   drain rows/s  us/row")
        for number in range(ROUNDS + 1):
            for layout in layouts if number % 2 else layouts[::-1]:
                schema = schemas[layout.name]
                row = (*writing(layout, schema, number), *draining(layout, schema))
                if number:  # The first round warms up.
                    found[layout.name].append(row)
                show(number, layout, row)
        for layout in layouts:
            show("all", layout, [statistics.median(column) for column in zip(*found[layout.name])])
    finally:
        for schema in schemas.values():
            admin.execute(f"DROP DATABASE {schema}")


def show(number, layout, row):
    print(f"{number!s:5} {layout.name:8} {row[0]:12.0f} {row[1]:7.1f} {row[2]:14.0f} {row[3]:7.1f}", flush=True)


main()
