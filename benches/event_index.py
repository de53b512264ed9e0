#!/usr/bin/env python3
"""What an index on the changes of participations would cost those who write events.

The outbox has none: a stream is in order of commits, and what needs the order of ranks reads it whole. The
transactions of the writer (units, participations, events) go into two copies of the schema, one with a unique index
on (campaign, rank, key sequence) and one without it, transaction by transaction in turns, so that a slow moment of the
machine hits both. Prints rows/s of each round and the ratio of the times.

    pip install pymysql
    eval "$(scripts/parts env)"; firstcome migrate; python3 benches/event_index.py [ROUNDS]
"""
import os
import statistics
import sys
import threading
import time
import uuid
from urllib.parse import urlparse

import pymysql

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 15
WRITERS, GROUP, ROWS = 2, 200, 40_000
TABLES = ["campaign", "participation", "outbox_event"]
PAYLOAD = (
    '{"participationId":"%s","campaignId":%d,"userId":%d,"quantity":1,'
    '"rank":%d,"status":"confirmed","occurredAt":"2026-01-01T00:00:00.000000Z"}'
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


def group(campaign, first_rank):
    """The statements of one transaction, put together beforehand: what is compared is the database."""
    participations, events = [], []
    for rank in range(first_rank, first_rank + GROUP):
        me, event = uuid7(), uuid7()
        name, user = str(uuid.UUID(bytes=me)), rank * 7919 % 1_000_003
        participations.append(
            "(%d,%d,0x%s,%d,1,1,'confirmed',1,1,UTC_TIMESTAMP(6),UTC_TIMESTAMP(6))"
            % (campaign, rank, me.hex(), user)
        )
        payload = PAYLOAD % (name, campaign, user, rank)
        events.append(
            "(%d,%d,0x%s,'participation','%s','firstcome.participation.confirmed','%s',1,%d,'%s',UTC_TIMESTAMP(6))"
            % (campaign, rank, event.hex(), name, name, rank, payload)
        )
    return [
        f"UPDATE campaign SET committed_units = committed_units + {GROUP},"
        f" event_sequence = LAST_INSERT_ID(event_sequence + {GROUP}) WHERE id = {campaign}",
        "INSERT INTO participation (campaign_id, `rank`, id, user_id, quantity, ordinal, status, remaining,"
        " version, created_at, updated_at) VALUES " + ",".join(participations),
        "INSERT INTO outbox_event (campaign_id, sequence, id, aggregatetype, aggregateid, type, message_key,"
        " key_sequence, `rank`, payload, created_at) VALUES " + ",".join(events),
    ]


def writing(schemas, number):
    """Seconds spent in each schema: one transaction into the one, the next into the other, by two
    writers with a campaign each."""
    spent, lock = dict.fromkeys(schemas, 0.0), threading.Lock()
    each = ROWS // WRITERS
    work = {
        campaign: [group(campaign, 1 + number * each + at) for at in range(0, each, GROUP)]
        for campaign in range(1, WRITERS + 1)
    }

    def write(campaign):
        cursors = {name: connect(schema).cursor() for name, schema in schemas.items()}
        mine = dict.fromkeys(schemas, 0.0)
        for turn, statements in enumerate(work[campaign]):
            for name in list(schemas) if turn % 2 else list(schemas)[::-1]:
                began = time.perf_counter()
                cursors[name].execute("BEGIN")
                for statement in statements:
                    cursors[name].execute(statement)
                cursors[name].execute("COMMIT")
                mine[name] += time.perf_counter() - began
        with lock:
            for name, seconds in mine.items():
                spent[name] += seconds

    writers = [threading.Thread(target=write, args=(campaign,)) for campaign in work]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return spent


def main():
    admin, model = connect().cursor(), SERVER.path.lstrip("/")
    schemas = {name: f"index_{name}_{os.getpid()}" for name in ("with", "without")}
    for name, schema in schemas.items():
        admin.execute(f"CREATE DATABASE {schema}")
        cursor = connect(schema).cursor()
        for table in TABLES:
            cursor.execute(f"CREATE TABLE {table} LIKE {model}.{table}")
        if name == "with":
            cursor.execute("CREATE UNIQUE INDEX event_change ON outbox_event (campaign_id, `rank`, key_sequence)")
        for campaign in range(1, WRITERS + 1):
            cursor.execute(
                "INSERT INTO campaign (id, name, description, kind, state, per_user_limit, max_quantity,"
                " hold_seconds, created_at, updated_at) VALUES (%s, 'c', '', 'general', 'open', 1, 1, 0,"
                " UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
                (campaign,),
            )
    ratios = []
    for number in range(ROUNDS + 1):
        spent = writing(schemas, number)
        if number:  # The first round warms up.
            ratios.append(spent["with"] / spent["without"])
            print(number, *(f"{name} {ROWS / took:.0f} rows/s" for name, took in spent.items()), flush=True)
    print(f"time with/without: median {statistics.median(ratios):.3f},"
          f" from {min(ratios):.3f} to {max(ratios):.3f}")
    for schema in schemas.values():
        admin.execute(f"DROP DATABASE {schema}")


main()
