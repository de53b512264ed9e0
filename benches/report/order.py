"""In which order a consumer sees events: against the order in which they were made, and the order of arrival.

Pure: records go in as (partition, key, headers) in the order in which one consumer received them.
"""


class Order:
    """Counts what came after something later. A re-delivery is not out of order; it is counted apart."""

    def __init__(self):
        self.records = self.redelivered = 0
        self.by_participation = self.by_key = self.rank_in_partition = self.rank_overall = 0
        self.ids, self.subjects, self.keys = set(), {}, {}
        self.ranks, self.ranks_overall = {}, {}
        self.partitions = {}

    def take(self, partition, key, headers):
        self.records += 1
        event = headers["ce_id"]
        if event in self.ids:
            self.redelivered += 1
            return
        self.ids.add(event)
        self.partitions[partition] = self.partitions.get(partition, 0) + 1
        sequence, subject = int(headers["ce_keysequence"]), headers["ce_subject"]
        # The changes of a participation are numbered: this is what is promised.
        self.by_participation += later(self.subjects, subject, sequence)
        # Each campaign is a stream of its own: between two of them a key has no order. Ids are made by time, so
        # within a key they tell in which order events were made.
        self.by_key += later(self.keys, (headers.get("campaign", ""), key), event)
        # One arrival has one rank, so only the first event of each counts.
        if sequence == 1 and "ce_rank" in headers:
            rank, campaign = int(headers["ce_rank"]), headers.get("campaign", "")
            self.rank_in_partition += later(self.ranks, (partition, campaign), rank)
            self.rank_overall += later(self.ranks_overall, campaign, rank)

    def summary(self):
        busiest = max(self.partitions.values(), default=0)
        return {
            "records": self.records,
            "events": len(self.ids),
            "redelivered": self.redelivered,
            "by_participation": self.by_participation,
            "by_key": self.by_key,
            "rank_in_partition": self.rank_in_partition,
            "rank_overall": self.rank_overall,
            "partitions_used": len(self.partitions),
            "busiest_share": busiest / len(self.ids) if self.ids else None,
        }


def later(newest, of, value):
    """1 when something later of the same came before, else 0; remembers the latest."""
    known = newest.get(of)
    if known is not None and known > value:
        return 1
    newest[of] = value
    return 0
