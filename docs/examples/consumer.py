"""Consumes participations and applies each event exactly once, although Kafka delivers at least once.

The effect is a count of confirmed units per user. One transaction writes the event's id and its effect; the
offsets are committed after it. After a crash between the two, the records arrive again and their ids show
that they are applied.

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
CREATE TABLE IF NOT EXISTS units (user_id INTEGER PRIMARY KEY, quantity INTEGER NOT NULL);
"""


def apply(db, record):
    """Applies one record, unless its event has been applied before. Returns whether it was new."""
    headers = {name: value.decode() for name, value in record.headers()}
    new = db.execute("INSERT OR IGNORE INTO inbox VALUES (?)", (headers["ce_id"],)).rowcount == 1
    # A later release may add types of events: they are recorded and have no effect.
    if new and headers["ce_type"] == "firstcome.participation.confirmed":
        change = json.loads(record.value())
        db.execute(
            "INSERT INTO units VALUES (?, ?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity",
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
