#!/usr/bin/env python3
"""Compares the relay's records with those of Debezium: compare.py BROKERS PREFIX EVENTS

EVENTS is how many events the outbox has. The relay's topics begin with PREFIX, those of Debezium with PREFIX_cdc.
With the word `clean` in place of EVENTS it deletes the topics of Debezium. One thing may differ, as docs/debezium.md
says: the timestamp, which is the event's with Debezium, and that of the publication with the relay.
"""

import collections
import datetime
import sys
import time

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

TOPICS = ("participation", "campaign", "order")
WAIT_SECONDS_MAX = 120
CALL_SECONDS_MAX = 30
EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)

Record = collections.namedtuple("Record", "topic partition key value timestamp headers")


def ends(consumer, prefix):
    """The partitions of the topics that exist, with the number of their records."""
    topics = consumer.list_topics(timeout=CALL_SECONDS_MAX).topics
    found = {}
    for topic in (f"{prefix}.{name}.v1" for name in TOPICS):
        for partition in topics[topic].partitions if topic in topics else ():
            place = TopicPartition(topic, partition)
            found[topic, partition] = consumer.get_watermark_offsets(place, CALL_SECONDS_MAX)[1]
    return found


def read(brokers, prefix, events):
    """The records of all topics, once there are as many as events; in each partition in their order."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"{prefix}.judge", "enable.auto.commit": False})
    end = time.monotonic() + WAIT_SECONDS_MAX
    while sum(ends(consumer, prefix).values()) < events:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    places = ends(consumer, prefix)
    if sum(places.values()) != events:
        sys.exit(f"WRONG: {prefix} has {sum(places.values())} records of {events} events after {WAIT_SECONDS_MAX} s")
    consumer.assign([TopicPartition(*place, 0) for place in places])
    records = []
    while len(records) < events:
        read = consumer.consume(min(500, events - len(records)), CALL_SECONDS_MAX)
        if not read:
            sys.exit(f"WRONG: only {len(records)} of {events} records of {prefix} can be read")
        for record in read:
            if record.error():
                sys.exit(f"WRONG: {record.error()}")
            topic = record.topic().removeprefix(f"{prefix}.")
            headers = [(name, value if value is None else value.decode()) for name, value in record.headers() or ()]
            records.append(Record(topic, record.partition(), record.key(), record.value(), record.timestamp()[1], headers))
    consumer.close()
    return records


def by_id(records):
    found = {dict(record.headers).get("ce_id"): record for record in records}
    if len(found) != len(records):
        sys.exit("WRONG: an id appears in several records")
    return found


def orders(records):
    """The ids of each key, in their order. All of a key are in one partition."""
    found = collections.defaultdict(list)
    for record in records:
        found[record.topic, record.key].append(dict(record.headers).get("ce_id"))
    return found


def differences(relay, debezium):
    for field in ("topic", "partition", "key", "value"):
        if getattr(relay, field) != getattr(debezium, field):
            yield f"{field}: {getattr(debezium, field)!r} in place of {getattr(relay, field)!r}"
    written = datetime.datetime.fromisoformat(dict(relay.headers)["ce_time"].replace("Z", "+00:00"))
    millis = (written - EPOCH) // datetime.timedelta(milliseconds=1)
    if debezium.timestamp != millis:
        yield f"timestamp: {debezium.timestamp} in place of {millis}"
    if relay.timestamp < millis:
        yield f"timestamp: {relay.timestamp} of the relay is before the event's {millis}"
    one, other = collections.Counter(relay.headers), collections.Counter(debezium.headers)
    for name, value in (one - other).elements():
        yield f"header {name} is missing: {value!r}"
    for name, value in (other - one).elements():
        yield f"header {name} is too much: {value!r}"


def compare(brokers, prefix, events):
    relay = read(brokers, prefix, events)
    debezium = read(brokers, f"{prefix}_cdc", events)
    one, other = by_id(relay), by_id(debezium)
    wrong = collections.Counter()
    examples = {}
    for name in one.keys() | other.keys():
        if name not in one or name not in other:
            found = [f"{name} is only in the records of {'the relay' if name in one else 'Debezium'}"]
        else:
            found = list(differences(one[name], other[name]))
        for text in found:
            kind = text.split(":")[0]
            wrong[kind] += 1
            examples.setdefault(kind, text)
    if not wrong and orders(relay) != orders(debezium):
        sys.exit("WRONG: the events of a key are in another order")
    for kind, count in list(wrong.items())[:20]:
        print(f"WRONG: {count} records differ: {examples[kind]}")
    if wrong:
        sys.exit(1)
    names = {name for record in relay for name, _ in record.headers}
    print(
        f"result: {events} records equal those of the relay: topic, partition, key, value, "
        f"{len(names)} headers, and the order in each of {len(orders(relay))} keys. The timestamp is that of the event"
    )
    print(f"result: headers compared: {', '.join(sorted(names))}")


def clean(brokers, prefix):
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 4})
    topics = [topic for topic in admin.list_topics(timeout=CALL_SECONDS_MAX).topics if topic.startswith(f"{prefix}_cdc")]
    for deletion in (admin.delete_topics(topics, operation_timeout=CALL_SECONDS_MAX) if topics else {}).values():
        deletion.result()


brokers, prefix, what = sys.argv[1:]
if what == "clean":
    clean(brokers, prefix)
else:
    compare(brokers, prefix, int(what))
