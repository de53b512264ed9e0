"""Rows that were there before: participations with or without their events, written by SQL in large pieces."""

PIECE_ROWS = 200_000
DAY = 86_400

CAMPAIGNS = """
SET SESSION cte_max_recursion_depth = 4294967295;
INSERT INTO campaign (id, name, description, kind, state, per_user_limit, max_quantity, hold_seconds,
    created_at, updated_at)
  WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
  SELECT i, CONCAT('report ', i), '', 'general', 'open', 1, 1, 0, '2026-01-01', '2026-01-01' FROM n;
"""

# Ids are in order of time, as they are when they are made one after the other. Nobody replicates what is only
# there to be in the way, and a binary log of millions of rows fills disks.
PARTICIPATIONS = """
SET SESSION sql_log_bin = 0;
SET SESSION cte_max_recursion_depth = 4294967295;
SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
SET SESSION time_zone = '+00:00';
CREATE TEMPORARY TABLE made AS
  WITH RECURSIVE n (i) AS (SELECT {begin} UNION ALL SELECT i + 1 FROM n WHERE i < {end})
  SELECT i, UNHEX(CONCAT(LPAD(HEX(FLOOR(({start} + i * {seconds} / {count}) * 1000) - 20), 12, '0'), '7',
      LPAD(HEX(i MOD 4096), 3, '0'), 'A000', HEX(RANDOM_BYTES(6)))) AS id,
    {campaign} + i MOD {campaigns} AS campaign_id, {user} + i AS user_id,
    {rank} + 1 + i DIV {campaigns} AS place,
    FROM_UNIXTIME({start} + i * {seconds} / {count}) AS at FROM n;
INSERT INTO participation (id, campaign_id, user_id, quantity, `rank`, ordinal, status, remaining, version,
    created_at, updated_at)
  SELECT id, campaign_id, user_id, 1, place, 1, 'confirmed', 1, 1, at, at FROM made;
"""

# One for each participation, so that a rank is the number in the stream, too.
EVENTS = """
INSERT INTO outbox_event (campaign_id, sequence, id, aggregatetype, aggregateid, type, message_key,
    key_sequence, `rank`, payload, created_at)
  SELECT campaign_id, place, UNHEX(CONCAT(LEFT(HEX(id), 16), 'A001', HEX(RANDOM_BYTES(6)))),
    'participation', BIN_TO_UUID(id), 'firstcome.participation.confirmed', BIN_TO_UUID(id), 1, place,
    CONCAT('{{"participationId":"', BIN_TO_UUID(id), '","campaignId":', campaign_id, ',"userId":', user_id,
      ',"quantity":1,"rank":', place, ',"status":"confirmed","occurredAt":"2026-01-01T00:00:00.000000Z"}}'), at
  FROM made;
"""

COUNTS = """
UPDATE campaign c JOIN (SELECT campaign_id, COUNT(*) AS made FROM participation GROUP BY campaign_id) p
    ON p.campaign_id = c.id
  SET c.participation_count = p.made, c.committed_units = p.made;
UPDATE campaign c JOIN (SELECT campaign_id, COUNT(*) AS made FROM outbox_event
    WHERE aggregatetype = 'participation' GROUP BY campaign_id) e
    ON e.campaign_id = c.id
  SET c.event_sequence = e.made;
{published}ANALYZE TABLE participation, outbox_event, campaign;
"""

PUBLISHED = """INSERT INTO outbox_position (campaign_id, published)
  SELECT id, event_sequence FROM campaign WHERE event_sequence > 0
  ON DUPLICATE KEY UPDATE published = event_sequence;
"""


def campaigns(installation, count, first=1):
    installation.sql(CAMPAIGNS.format(first=first, last=first + count - 1))


def participations(installation, count, *, campaign, of, user, start, seconds=DAY, rank=0, events=False):
    """So many, shared evenly by `of` campaigns from that one on, over so many seconds from a time since 1970."""
    for begin in range(0, count, PIECE_ROWS):
        values = {
            "begin": begin,
            "end": min(begin + PIECE_ROWS, count) - 1,
            "count": count,
            "campaign": campaign,
            "campaigns": of,
            "user": user,
            "start": start,
            "seconds": seconds,
            "rank": rank,
        }
        installation.sql(PARTICIPATIONS.format(**values) + (EVENTS.format() if events else ""))


def count(installation, *, published=True):
    """Lets the campaigns know what they have sold. Their events count as published, or are a backlog."""
    installation.sql(COUNTS.format(published=PUBLISHED if published else ""))
