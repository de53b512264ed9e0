"""The statements of the writer's commit as text for the `mysql` client, with rows like those of the service."""

import json
import random
import uuid

AT = "2026-01-01 00:00:00.000000"
PARTICIPATION = (
    "INSERT INTO participation (campaign_id, `rank`, id, user_id, quantity, ordinal, status, remaining, amount, "
    "version, expires_at, created_at, updated_at) VALUES "
)
EVENT = (
    "INSERT INTO outbox_event (campaign_id, sequence, id, aggregatetype, aggregateid, type, message_key, "
    "key_sequence, `rank`, traceparent, payload, created_at) VALUES "
)
POSITION = (
    "INSERT INTO outbox_position (campaign_id, published) VALUES ({campaign},{last}) AS moved ON DUPLICATE KEY UPDATE "
    "published = GREATEST(outbox_position.published, moved.published)"
)
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


def write(file, campaign, count, batch, published, seed):
    """A file that one session commits: so many rows of one campaign, a batch in each transaction.

    With `published` the position of the stream is written after each batch, as the relay does it.
    """
    chance = random.Random(seed * 1_000 + campaign)
    with open(file, "w", encoding="ascii") as out:
        out.write("SELECT NOW(6);\nSET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;\n")
        for first in range(0, count, batch):
            ranks = range(first + 1, min(first + batch, count) + 1)
            pairs = [(ordered_id(chance, rank), ordered_id(chance, rank)) for rank in ranks]
            for statement in transaction(campaign, ranks, pairs):
                out.write(f"{statement};\n")
            if published:
                out.write(f"{POSITION.format(campaign=campaign, last=ranks[-1])};\n")
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


def transaction(campaign, ranks, pairs):
    """The statements of one commit, in the order of the service."""
    together = list(zip(ranks, pairs))
    count = len(together)
    yield "BEGIN"
    yield (
        f"UPDATE campaign SET committed_units = committed_units + {count}, "
        f"participation_count = participation_count + {count}, "
        f"event_sequence = LAST_INSERT_ID(event_sequence + {count}) WHERE id = {campaign} AND gate_epoch = 0 AND "
        f"per_user_limit = 1 AND per_user_limit_max = 1 AND "
        f"(total_stock IS NULL OR total_stock >= committed_units + {count})"
    )
    yield PARTICIPATION + ",".join(
        f"({campaign},{rank},0x{pair[0].hex},{rank},1,1,'confirmed',NULL,NULL,1,NULL,'{AT}','{AT}')"
        for rank, pair in together
    )
    yield EVENT + ",".join(
        f"({campaign},{rank},0x{pair[1].hex},'participation','{pair[0]}','{TOLD}','{pair[0]}',1,{rank},NULL,"
        f"'{payload(str(pair[0]), campaign, rank, rank)}','{AT}')"
        for rank, pair in together
    )
    yield "COMMIT"
