import unittest

from benches.report.ways import RATE_MIN, following


class Ramps(unittest.TestCase):
    def test_a_rate_that_holds_is_followed_by_a_higher_one(self):
        self.assertEqual(following([(100, True)], 1.5), 150)
        self.assertEqual(following([(100, True), (150, True)], 1.5), 225)

    def test_the_first_that_does_not_hold_after_one_that_did_is_the_end(self):
        self.assertIsNone(following([(100, True), (150, False)], 1.5))

    def test_where_the_first_does_not_hold_lower_ones_are_tried_until_one_does(self):
        self.assertEqual(following([(100, False)], 2), 50)
        self.assertEqual(following([(100, False), (50, False)], 2), 25)
        self.assertIsNone(following([(100, False), (50, False), (25, True)], 2))

    def test_it_goes_no_lower_than_there_is_sense_in(self):
        self.assertIsNone(following([(RATE_MIN, False)], 2))


if __name__ == "__main__":
    unittest.main()
