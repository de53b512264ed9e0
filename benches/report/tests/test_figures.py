import math
import unittest

from benches.report import figures
from benches.report.figures import Metrics

TEXT = """
# HELP wait_seconds How long.
# TYPE wait_seconds histogram
wait_seconds_sum{route="/a/{id}",method="POST"} 3.0
wait_seconds_count{route="/a/{id}",method="POST"} 4
wait_seconds_bucket{le="0.1",route="/a/{id}",method="POST"} 1
wait_seconds_bucket{le="1.0",route="/a/{id}",method="POST"} 3
wait_seconds_bucket{le="+Inf",route="/a/{id}",method="POST"} 4
wait_seconds_bucket{le="0.1",route="/b",method="GET"} 9
wait_seconds_bucket{le="+Inf",route="/b",method="GET"} 9
published_total{result="ok",class="none"} 5
published_total{result="ok",class="late"} 2
published_total{result="failed",class="none"} 1
"""


class Spreads(unittest.TestCase):
    def test_a_spread_is_the_median_with_its_range(self):
        self.assertEqual(figures.spread([5, 1, 3]), {"median": 3, "min": 1, "max": 5, "rounds": 3})

    def test_what_was_not_measured_is_not_a_zero(self):
        self.assertEqual(figures.spread([None, 4])["median"], 4)
        self.assertIsNone(figures.spread([None])["median"])

    def test_numbers_are_spread_at_any_depth(self):
        rows = [{"a": 1, "deep": {"b": 2}, "word": "x"}, {"a": 3, "deep": {"b": 4}, "word": "y"}]
        found = figures.spreads(rows)
        self.assertEqual(found["a"]["median"], 2)
        self.assertEqual(found["deep"]["b"]["max"], 4)
        self.assertNotIn("word", found)

    def test_a_figure_that_one_round_alone_has_is_kept(self):
        found = figures.spreads([{"a": 1, "once": 7}, {"a": 2}])
        self.assertEqual(found["once"]["median"], 7)


class Quantiles(unittest.TestCase):
    def test_the_share_is_at_or_below_the_value(self):
        self.assertEqual(figures.quantile(range(1, 101), 0.99), 99)
        self.assertEqual(figures.quantile([7], 0.5), 7)
        self.assertIsNone(figures.quantile([], 0.5))


class Scrapes(unittest.TestCase):
    def test_counters_are_added_over_the_labels_that_are_not_named(self):
        metrics = Metrics(TEXT)
        self.assertEqual(metrics.total("published_total", result="ok"), 7)
        self.assertIsNone(metrics.total("nothing"))

    def test_a_histogram_is_that_of_its_labels_alone(self):
        found = Metrics(TEXT).histogram("wait_seconds", route="/a/{id}")
        self.assertEqual(found.buckets, {0.1: 1, 1.0: 3, math.inf: 4})
        self.assertEqual(found.total, 3.0)

    def test_quantiles_lie_within_their_bucket(self):
        found = Metrics(TEXT).histogram("wait_seconds", route="/a/{id}")
        self.assertAlmostEqual(found.quantile_ms(0.5), 550)
        # Beyond the last bound nothing is known but that bound.
        self.assertEqual(found.quantile_ms(0.99), 1_000)

    def test_only_what_was_observed_since_counts(self):
        before = Metrics(TEXT)
        more = TEXT
        for bound, count in (("1.0", 3), ("+Inf", 4)):
            line = f'wait_seconds_bucket{{le="{bound}",route="/a/{{id}}",method="POST"}} '
            more = more.replace(f"{line}{count}", f"{line}{count + 10}")
        after = Metrics(more)
        found = figures.observed(before, after, "wait_seconds", route="/a/{id}")
        self.assertEqual(found["count"], 10)
        self.assertAlmostEqual(found["p50"], 550)

    def test_a_histogram_that_is_not_there_is_none(self):
        self.assertIsNone(figures.observed(Metrics(""), Metrics(TEXT), "gate_seconds"))

    def test_a_label_may_have_braces_and_slashes(self):
        name, labels, value = figures.parse_sample('x_total{route="/a/{id}/b",le="+Inf"} 2.5')
        self.assertEqual((name, labels["route"], labels["le"], value), ("x_total", "/a/{id}/b", "+Inf", 2.5))


class Words(unittest.TestCase):
    def test_a_range_is_said_only_where_there_is_one(self):
        self.assertEqual(figures.ranged(figures.spread([2])), "2")
        self.assertEqual(figures.ranged(figures.spread([1, 2, 3])), "2 (1 to 3)")
        self.assertEqual(figures.ranged(None), "–")

    def test_numbers_have_the_digits_that_matter(self):
        self.assertEqual(figures.text(0.1234), "0.12")
        self.assertEqual(figures.text(12.34), "12.3")
        self.assertEqual(figures.text(1234.5), "1\u202f234")
        self.assertEqual(figures.text(None), "–")


if __name__ == "__main__":
    unittest.main()
