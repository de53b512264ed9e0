"""Prints each event of firstcome once, as a line of JSON: python consume.py 127.0.0.1:9092 firstcome"""

import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Consumer

brokers, prefix = sys.argv[1:]
consumer = Consumer(
    {
        "bootstrap.servers": brokers,
        "group.id": f"{prefix}.example-python",
        "auto.offset.reset": "earliest",
        # Offsets are committed in the background, but only those that store_offsets has named.
        "enable.auto.offset.store": False,
    }
)
consumer.subscribe([f"{prefix}.{kind}.v1" for kind in ("participation", "campaign", "order")])

# Yours is a table of your database, written in the transaction in which the event has its effect.
seen = set()
while True:
    record = consumer.poll(1)
    if record is None:
        continue
    if record.error():
        raise SystemExit(record.error())
    event = from_kafka_event(KafkaMessage(dict(record.headers()), record.key(), record.value()))
    if event.get_id() in seen:
        print("again", event.get_id(), flush=True)
    else:
        seen.add(event.get_id())
        # event.get_data() is the decoded JSON, a dict; event.get_type() says what happened.
        print(JSONFormat().write(event).decode(), flush=True)
    consumer.store_offsets(record)
