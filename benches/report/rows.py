"""The statements of the writer's commit as text for the `mysql` client, with rows like those of the service."""

import json
import random
import uuid

BUCKETS = 64
AT = "2026-01-01 00:00:00.000000"
PARTICIPATION = (
    "INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, remaining, amount, "
    "version, expires_at, created_at, updated_at) VALUES "
)
EVENT = (
    "INSERT INTO outbox_event (id, bucket, campaign_id, aggregatetype, aggregateid, type, message_key, "
    "key_sequence, `rank`, traceparent, payload, created_at) VALUES "
)
PENDING = "INSERT INTO outbox_pending (bucket, event_id, campaign_id, hold_until, stream) VALUES "
TOLD = "firstcome.participation.confirmed"


def payload(participation, campaign, user, rank):
    """The value of an event, as the service writes it."""
    return json.dumps(
        {
            "campaignId": campaign,
            "occurredAt": "2026-01-01T00:00:00.000000Z",
            "participationId": participation,
            "quantity": 1,
            "rank": rank,
            "status": "confirmed",
            "userId": user,
        },
        separators=(",", ":"),
    )


# What Kafka's own benchmark is told to write.
EVENT_BYTES = len(payload(str(uuid.UUID(int=0)), 1, 100_000_000, 10_000))


def write(file, campaign, count, batch, deletes, seed):
    """A file that one session commits: so many rows of one campaign, a batch in each transaction.

    With `deletes` each batch's pending rows are deleted in a transaction of its own, as the relay does it.
    """
    chance = random.Random(seed * 1_000 + campaign)
    with open(file, "w", encoding="ascii") as out:
        out.write("SELECT NOW(6);\nSET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;\n")
        for first in range(0, count, batch):
            ranks = range(first + 1, min(first + batch, count) + 1)
            pairs = [(ordered_id(chance, rank), ordered_id(chance, rank)) for rank in ranks]
            for statement in transaction(campaign, ranks, pairs):
                out.write(f"{statement};\n")
            if deletes:
                out.write(f"{deletion(pairs)};\n")
        out.write("SELECT NOW(6);\n")
    return file


def ordered_id(chance, nth):
    """A UUID of version 7: ordered by time, as the service's are, some of them in the same millisecond."""
    value = (
        (1_760_000_000_000 + nth // 5) << 80
        | 7 << 76
        | (nth % 4_096) << 64
        | 2 << 62
        | chance.getrandbits(62)
    )
    return uuid.UUID(int=value)


def bucket(pair):
    return pair[0].int % BUCKETS


def transaction(campaign, ranks, pairs):
    """The statements of one commit, in the order of the service."""
    together = list(zip(ranks, pairs))
    count = len(together)
    yield "BEGIN"
    yield (
        f"UPDATE `campaign` SET `committed_units` = `committed_units` + {count}, "
        f"`participation_count` = `participation_count` + {count} WHERE `campaign`.`id` = {campaign} AND "
        f"`campaign`.`gate_epoch` = 0 AND (`campaign`.`total_stock` IS NULL OR "
        f"`total_stock` >= `committed_units` + {count})"
    )
    yield PARTICIPATION + ",".join(
        f"(0x{pair[0].hex},{campaign},{rank},1,{rank},1,'confirmed',NULL,NULL,1,NULL,'{AT}','{AT}')"
        for rank, pair in together
    )
    yield EVENT + ",".join(
        f"(0x{pair[1].hex},{bucket(pair)},{campaign},'participation','{pair[0]}','{TOLD}','{pair[0]}',1,{rank},NULL,"
        f"'{payload(str(pair[0]), campaign, rank, rank)}','{AT}')"
        for rank, pair in together
    )
    yield PENDING + ",".join(
        f"({bucket(pair)},0x{pair[1].hex},{campaign},NULL,'participation')" for _, pair in together
    )
    yield "COMMIT"


def deletion(pairs):
    """What the relay deletes when all of it is acknowledged."""
    keys = ",".join(f"({bucket(pair)},0x{pair[1].hex})" for pair in pairs)
    table = "/*+ INDEX(outbox_pending PRIMARY) */ FROM outbox_pending"
    return f"DELETE {table} WHERE (bucket, event_id) IN ({keys})"
