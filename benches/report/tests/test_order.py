import unittest

from benches.report.order import Order


def record(event, *, partition=0, key="k", subject="p1", sequence=1, rank=None, campaign=1):
    headers = {"ce_id": event, "ce_subject": subject, "ce_keysequence": str(sequence), "campaign": campaign}
    if rank is not None:
        headers["ce_rank"] = str(rank)
    return partition, key, headers


def seen(*records):
    order = Order()
    for one in records:
        order.take(*one)
    return order.summary()


class Orders(unittest.TestCase):
    def test_changes_that_come_in_order_violate_nothing(self):
        found = seen(record("01"), record("02", sequence=2))
        self.assertEqual((found["by_participation"], found["by_key"], found["events"]), (0, 0, 2))

    def test_a_change_after_a_later_one_of_its_participation_is_counted(self):
        found = seen(record("02", sequence=2), record("01", sequence=1))
        self.assertEqual(found["by_participation"], 1)

    def test_participations_do_not_wait_for_each_other(self):
        found = seen(
            record("02", subject="a", key="a", sequence=2), record("01", subject="b", key="b", sequence=1)
        )
        self.assertEqual((found["by_participation"], found["by_key"]), (0, 0))

    def test_an_event_after_a_later_one_of_its_key_is_counted(self):
        found = seen(record("02", subject="a"), record("01", subject="b"))
        self.assertEqual((found["by_key"], found["by_participation"]), (1, 0))

    def test_a_redelivery_is_not_out_of_order(self):
        found = seen(record("01"), record("02", sequence=2), record("01"))
        self.assertEqual((found["redelivered"], found["by_participation"], found["by_key"]), (1, 0, 0))
        self.assertEqual((found["records"], found["events"]), (3, 2))

    def test_arrivals_are_compared_within_a_partition_and_over_all(self):
        found = seen(
            record("01", subject="a", key="a", partition=0, rank=1),
            record("03", subject="c", key="c", partition=1, rank=3),
            record("02", subject="b", key="b", partition=0, rank=2),
        )
        self.assertEqual((found["rank_in_partition"], found["rank_overall"]), (0, 1))

    def test_arrivals_of_different_campaigns_are_not_compared(self):
        found = seen(
            record("01", subject="a", key="a", rank=9, campaign=1),
            record("02", subject="b", key="b", rank=1, campaign=2),
        )
        self.assertEqual((found["rank_in_partition"], found["rank_overall"]), (0, 0))

    def test_only_the_first_event_of_an_arrival_has_its_rank(self):
        found = seen(
            record("01", subject="a", key="a", rank=1),
            record("02", subject="b", key="b", rank=2),
            record("03", subject="a", key="a", rank=1, sequence=2),
        )
        self.assertEqual(found["rank_overall"], 0)

    def test_the_busiest_partition_is_known(self):
        found = seen(
            record("01", partition=0),
            record("02", partition=0, sequence=2),
            record("03", partition=1, subject="b", key="b"),
        )
        self.assertEqual(found["partitions_used"], 2)
        self.assertAlmostEqual(found["busiest_share"], 2 / 3)


if __name__ == "__main__":
    unittest.main()
