import unittest

from benches.report import checks
from benches.report.service import breaches

WHOLE = {
    "stock": 50,
    "committed": 50,
    "units": 50,
    "participations": 50,
    "users": 50,
    "ranks": 50,
    "events": 50,
}


class Sold(unittest.TestCase):
    def test_what_is_whole_is_not_wrong(self):
        self.assertEqual(checks.wrong(WHOLE, accepted_least=50), [])
        self.assertEqual(checks.wrong({**WHOLE, "stock": None}), [])

    def test_each_thing_that_is_wrong_is_found(self):
        for change, word in [
            ({"stock": 49}, "oversold"),
            ({"committed": 49}, "counts 49 units"),
            ({"users": 49}, "users who had one"),
            ({"ranks": 49}, "given twice"),
            ({"events": 49}, "events of 49"),
        ]:
            with self.subTest(word):
                found = checks.wrong({**WHOLE, **change})
                self.assertEqual(len(found), 1)
                self.assertIn(word, found[0])

    def test_a_yes_that_is_not_there_is_found_and_one_that_nobody_saw_is_none(self):
        self.assertIn("told yes", checks.wrong(WHOLE, accepted_least=51)[0])
        self.assertEqual(checks.wrong(WHOLE, accepted_least=49), [])


class Verify(unittest.TestCase):
    def test_breaches_of_campaigns_and_of_the_topic_are_told(self):
        report = {
            "campaigns": [{"campaignId": 1, "breaches": ["one"]}, {"campaignId": 2, "breaches": []}],
            "topic": {"verdict": {"campaigns": [{"campaignId": 2, "breaches": ["two"]}]}},
            "rewards": {"breaches": ["three"]},
        }
        self.assertEqual(breaches(report), ["campaign 1: one", "topic, campaign 2: two", "rewards: three"])
        self.assertEqual(breaches({}), [])

    def test_campaigns_alone_come_as_a_list(self):
        self.assertEqual(breaches([{"campaignId": 1, "breaches": ["one"]}]), ["campaign 1: one"])


if __name__ == "__main__":
    unittest.main()
