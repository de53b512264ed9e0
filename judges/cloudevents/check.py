#!/usr/bin/env python3
"""Compares what the consumers of the three languages printed with what the database and `verify` say was published.

    check.py again BROKERS PREFIX                delivers a record of each topic again; prints the number of records
    check.py export DATABASE >EVENTS             the events of the outbox, a line of JSON each
    check.py compare PREFIX RECORDS EVENTS VERIFY LANGUAGE=OUTPUT…
"""

import collections
import datetime
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOPICS = ("participation", "campaign", "order")
WAIT_SECONDS_MAX = 30
COLUMNS = {
    "id": "BIN_TO_UUID(id)",
    "topic": "aggregatetype",
    "subject": "aggregateid",
    "type": "type",
    "key": "message_key",
    "keysequence": "CAST(key_sequence AS CHAR)",
    "sequence": "CAST(sequence AS CHAR)",
    "rank": "CAST(`rank` AS CHAR)",
    "payload": "payload",
    "time": "DATE_FORMAT(created_at, '%Y-%m-%dT%H:%i:%s.%fZ')",
}
# What the JavaScript library has of a time: it is a Date.
UNIT_MICROS = {"node": 1000}


def again(brokers, prefix):
    """A relay that is killed after Kafka's acknowledgement delivers again; this does the same to a record of each topic."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"{prefix}.judge"})
    producer = Producer({"bootstrap.servers": brokers})
    total = 0
    for topic in (f"{prefix}.{name}.v1" for name in TOPICS):
        ends = {}
        for partition in consumer.list_topics(topic, WAIT_SECONDS_MAX).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), WAIT_SECONDS_MAX)
            total += high - low
            ends[partition] = high - low
        fullest = max(ends, key=ends.get)
        consumer.assign([TopicPartition(topic, fullest, 0)])
        records = consumer.consume(1, WAIT_SECONDS_MAX)
        if not records or records[0].error():
            sys.exit(f"no record of {topic} can be read")
        first = records[0]
        producer.produce(topic, first.value(), first.key(), fullest, headers=first.headers())
        total += 1
    if producer.flush(WAIT_SECONDS_MAX):
        sys.exit("Kafka does not acknowledge the redelivered records")
    consumer.close()
    print(total)


def export(database):
    fields = ", ".join(f"'{name}', {column}" for name, column in COLUMNS.items())
    sql = f"SELECT JSON_OBJECT({fields}) FROM outbox_event"
    command = [ROOT / "scripts/parts", "cli", "mysql", "--raw", "--skip-column-names", database, "-e", sql]
    subprocess.run(command, check=True)


def published(verify):
    """How many events of each topic `verify` counts as published; it must find nothing wrong."""
    campaigns = json.loads(pathlib.Path(verify).read_text())["campaigns"]
    counts = collections.Counter()
    for campaign in campaigns:
        counts["participation"] += campaign["published"]
        counts["campaign"] += campaign["campaignEvents"] - campaign["campaignEventsUnpublished"]
        counts["order"] += campaign["orderEvents"] - campaign["orderEventsUnpublished"]
    return counts


def wanted(prefix, row):
    """The CloudEvent that a row of the outbox must become."""
    event = {name: row[name] for name in ("id", "type", "subject", "keysequence", "sequence", "time")}
    event |= {"specversion": "1.0", "source": f"/{prefix}", "datacontenttype": "application/json"}
    if row["rank"] is not None:
        event["rank"] = row["rank"]
    return event | {"data": json.loads(row["payload"]), "partitionkey": row["key"]}


def micros(text):
    since = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) - datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
    return since // datetime.timedelta(microseconds=1)


def differences(language, event, expected):
    """The attributes that differ. A library may leave the key of the record out."""
    expected = dict(expected)
    if "partitionkey" not in event:
        del expected["partitionkey"]
    found = [name for name in expected.keys() | event.keys() if name != "time" and event.get(name) != expected.get(name)]
    unit = UNIT_MICROS.get(language, 1)
    if "time" not in event or micros(event["time"]) // unit != micros(expected["time"]) // unit:
        found.append("time")
    return sorted(found)


def judge(language, output, records, rows):
    """What is wrong with what a consumer printed, and how many lines of it were events."""
    lines = pathlib.Path(output).read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    repeated = [line.split()[1] for line in lines if line.startswith("again ")]
    ids = collections.Counter(event["id"] for event in events)
    wrong = [f"{name} is printed {count} times" for name, count in ids.items() if count > 1]
    wrong += [f"{name} was published, and is missing" for name in rows.keys() - ids.keys()]
    wrong += [f"{name} was not published" for name in (ids.keys() | set(repeated)) - rows.keys()]
    for event in events:
        if event["id"] in rows:
            found = differences(language, event, rows[event["id"]])
            wrong += [f"{event['id']}: {name} is {event.get(name)!r}, not {rows[event['id']].get(name)!r}" for name in found]
    if len(events) + len(repeated) != len(lines) or len(lines) != records:
        wrong.append(f"{len(events)} events and {len(repeated)} repeated ones in {len(lines)} lines of {records} records")
    return [f"{language}: {line}" for line in wrong], len(events), len(repeated)


def compare(prefix, records, events, verify, *outputs):
    lines = [json.loads(line) for line in pathlib.Path(events).read_text().splitlines()]
    rows = {row["id"]: wanted(prefix, row) for row in lines}
    in_database = collections.Counter(row["topic"] for row in lines)
    wrong = []
    if published(verify) != in_database:
        wrong.append(f"verify counts {dict(published(verify))} as published, the outbox has {dict(in_database)}")
    counts = []
    for language, output in (pair.split("=", 1) for pair in outputs):
        found, unique, repeated = judge(language, output, int(records), rows)
        wrong += found
        counts.append(f"{language} {unique}")
    for line in wrong[:20]:
        print(f"WRONG: {line}")
    if wrong:
        sys.exit(f"{len(wrong)} things are wrong")
    types = len({row["type"] for row in lines})
    print(f"result: {len(rows)} events of {types} types published. Valid, unique and equal to the outbox: {', '.join(counts)}")
    print(f"result: {records} records in {len(TOPICS)} topics, and the {repeated} that were delivered again were recognised")


{"again": again, "export": export, "compare": compare}[sys.argv[1]](*sys.argv[2:])
