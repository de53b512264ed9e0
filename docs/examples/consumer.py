"""Consumes participations, with one effect per event whatever is delivered how often.

The effect here is a count of confirmed units per user. It is written in the same transaction as the
event's id, and the offsets are committed after that transaction: a crash in between brings records
again, and the id says that they are done.

    pip install confluent-kafka
    python consumer.py BROKERS [PREFIX] [DATABASE]
"""

import json
import signal
import sqlite3
import sys

from confluent_kafka import Consumer, KafkaException

BATCH_MAX = 500
WAIT_SECONDS = 1.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (event_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS units (user_id INTEGER PRIMARY KEY, held INTEGER NOT NULL);
"""


def apply(db, record):
    """Applies one record, once. True: it was new."""
    headers = {name: value.decode() for name, value in record.headers()}
    new = db.execute("INSERT OR IGNORE INTO inbox VALUES (?)", (headers["ce_id"],)).rowcount == 1
    # A type that is not known may have been added since: it is remembered and has no effect.
    if new and headers["ce_type"] == "firstcome.participation.confirmed":
        change = json.loads(record.value())
        db.execute(
            "INSERT INTO units VALUES (?, ?) ON CONFLICT DO UPDATE SET held = held + excluded.held",
            (change["userId"], change["quantity"]),
        )
    return new


def main(brokers, prefix="firstcome", database="consumer.db"):
    db = sqlite3.connect(database)
    db.executescript(SCHEMA)
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": f"{prefix}.example",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([f"{prefix}.participation.v1"])
    stopping = []
    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, lambda *_: stopping.append(True))
    try:
        while not stopping:
            batch = consumer.consume(BATCH_MAX, WAIT_SECONDS)
            for record in batch:
                if record.error():
                    raise KafkaException(record.error())
            if not batch:
                continue
            with db:  # One transaction: all of the batch, or none of it.
                new = sum(apply(db, record) for record in batch)
            consumer.commit(asynchronous=False)
            print(f"{len(batch)} records, {new} new", flush=True)
    finally:
        consumer.close()
        db.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:4])
