"""Holds what the clients were told against MySQL and Kafka, which are read past the proxies."""

import json
import pathlib
import subprocess
import uuid
from collections import Counter

PARTS = pathlib.Path(__file__).resolve().parents[2] / "scripts/parts"
READ_SECONDS_MAX = 60


def output(*command):
    ran = subprocess.run([PARTS, "cli", *command], capture_output=True, text=True, timeout=READ_SECONDS_MAX)
    if ran.returncode != 0:
        raise SystemExit(f"{command}: {ran.stderr}")
    return ran.stdout.splitlines()


def sold(database):
    """The participations in MySQL: (id, campaign, user, rank, quantity)."""
    sql = "SELECT LOWER(HEX(id)), campaign_id, user_id, `rank`, quantity FROM participation"
    found = (line.split("\t") for line in output("mysql", "-N", "-B", database, "-e", sql))
    return [(str(uuid.UUID(id)), *map(int, numbers)) for id, *numbers in found]


def published(broker, prefix):
    """How often each participation is in the topic."""
    lines = output("kafka", "-b", broker, "-q", "-C", "-e", "-o", "beginning", "-t", f"{prefix}.participation.v1")
    return Counter(json.loads(line)["participationId"] for line in lines)


def judge(wishes, rows, records, stocks):
    """The contradictions, as texts."""
    wrong = []
    by_id = {row[0]: row for row in rows}
    asked = {(wish.campaign, wish.user): wish for wish in wishes}
    for key, count in Counter((campaign, rank) for _, campaign, _, rank, _ in rows).items():
        if count > 1:
            wrong.append(f"a rank was given {count} times: campaign and rank {key}")
    for key, count in Counter((campaign, user) for _, campaign, user, _, _ in rows).items():
        if count > 1:
            wrong.append(f"a user has {count} units: campaign and user {key}")
    for campaign, stock in stocks.items():
        units = sum(row[4] for row in rows if row[1] == campaign)
        if units > stock:
            wrong.append(f"campaign {campaign} sold {units} of {stock} units")
    for wish in wishes:
        wrong += judge_wish(wish, by_id)
    for id, campaign, user, _, _ in rows:
        wish = asked.get((campaign, user))
        if wish is None:
            wrong.append(f"participation {id} was never asked for")
        elif wish.outcome and wish.outcome[0] != 201:
            wrong.append(f"participation {id} is committed, and its client was told {wish.outcome}")
        if records[id] == 0:
            wrong.append(f"participation {id} is committed and not published")
    wrong += [f"participation {id} is published and not committed" for id in records if id not in by_id]
    return wrong


def judge_wish(wish, by_id):
    if wish.outcome is None:
        return [f"key {wish.key} has no outcome"]
    status, body = wish.outcome
    if status == 409 and body["code"] == "SOLD_OUT":
        return []
    if status != 201:
        return [f"user {wish.user} of campaign {wish.campaign} was told {status} {body}"]
    row = by_id.get(body["participationId"])
    if row is None:
        return [f"participation {body['participationId']} was promised and is not committed"]
    if row[1:4] != (wish.campaign, wish.user, body["rank"]):
        return [f"participation {row} was promised as {body}"]
    return []


def plant(wishes, rows, records, stocks):
    """Breaks copies of what was read; returns the names of those that go unnoticed."""
    some, other = rows[0], rows[-1]
    broken = {
        "a lost row": (rows[1:], records, stocks),
        "a unit sold twice": ([*rows, (str(uuid.uuid4()), *other[1:])], records, stocks),
        "a lost record": (rows, records - Counter({some[0]: records[some[0]]}), stocks),
        "a record of nothing": (rows, records + Counter({str(uuid.uuid4()): 1}), stocks),
        "a smaller stock": (rows, records, {**stocks, some[1]: sum(row[4] for row in rows if row[1] == some[1]) - 1}),
    }
    return [name for name, (r, k, s) in broken.items() if not judge(wishes, r, k, s)]
