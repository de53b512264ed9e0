import unittest

from benches.report.ways import RATE_MIN, TRIES, at_knee, compared, following


def broken(*rates):
    return [(rate, False) for rate in rates for _ in range(TRIES)]


class Ramps(unittest.TestCase):
    def test_a_rate_that_holds_is_followed_by_a_higher_one(self):
        self.assertEqual(following([(100, True)], 1.5), 150)
        self.assertEqual(following([(100, True), (150, True)], 1.5), 225)

    def test_the_first_that_does_not_hold_is_approached_from_below(self):
        self.assertEqual(following([(100, True), *broken(150)], 1.5), 122)
        self.assertEqual(following([(100, True), *broken(150, 122)], 1.5), 110)
        self.assertEqual(following([(100, True), *broken(150), (122, True)], 1.5), 135)

    def test_the_knee_is_known_within_a_few_in_a_hundred(self):
        above = broken(150, 122, 110)
        self.assertEqual(following([(100, True), *above], 1.5), 105)
        self.assertEqual(following([(100, True), *above, *broken(105)], 1.5), 102)
        self.assertIsNone(following([(100, True), *above, *broken(105, 102)], 1.5))

    def test_what_does_not_hold_once_is_tried_again(self):
        self.assertEqual(following([(100, True), (150, False)], 1.5), 150)
        self.assertEqual(following([(100, True), (150, False), (150, True)], 1.5), 225)

    def test_where_the_first_does_not_hold_lower_ones_are_tried_until_one_does(self):
        self.assertEqual(following(broken(100), 2), 50)
        self.assertEqual(following(broken(100, 50), 2), 25)
        self.assertEqual(following([*broken(100, 50), (25, True)], 2), 35)

    def test_one_that_held_above_one_that_did_not_was_luck(self):
        self.assertEqual(following([(100, True), *broken(150), (200, True)], 1.5), 122)

    def test_it_goes_no_lower_than_there_is_sense_in(self):
        self.assertIsNone(following(broken(RATE_MIN), 2))


class Knees(unittest.TestCase):
    def ramp(self, comfort=None):
        found = ((100, 5.0, True), (200, 950.0, False), (200, 90.0, True), (400, 900.0, False))
        steps = [{"rate": rate, "p99": p99, "holds": holds} for rate, p99, holds in found]
        return {"steps": steps, "knee": 200, "accepted": 210.0, "comfort": comfort}

    def test_latency_at_the_knee_and_below_is_told(self):
        found = at_knee(self.ramp(comfort={"p50": 2.0, "p99": 8.0}))
        self.assertEqual((found["p99"], found["comfort_p50"], found["comfort_p99"]), (90.0, 2.0, 8.0))

    def test_where_nothing_held_there_is_no_knee(self):
        found = at_knee({**self.ramp(), "knee": None})
        self.assertEqual((found["knee"], found["p99"], found["comfort_p99"]), (None, None, None))

    def test_two_ways_are_compared_where_the_other_holds(self):
        theirs = {"p99": 90.0, "holds": True}
        self.assertEqual(compared(200, theirs, {"p99": 3.0})["ratio"], 30.0)
        beyond = compared(200, theirs | {"holds": False}, {"p99": 3.0})
        self.assertEqual((beyond["theirs"], beyond["ours"], beyond["ratio"]), (None, None, None))


if __name__ == "__main__":
    unittest.main()
