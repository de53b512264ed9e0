import unittest

from benches.report import ceilings, limits, load
from benches.report.processes import Failed

WRK = """Running 2s test @ http://127.0.0.1:18080
  1 threads and 384 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    85.11ms   12.20ms 164.20ms   80.00%
  Latency Distribution
     50%   83.40ms
     75%   90.00ms
     99%    1.64s\x20
  8638 requests in 2.00s, 3.01MB read
  Non-2xx or 3xx responses: 12
Requests/sec:   4319.22
Transfer/sec:      1.50MB
"""


class Generators(unittest.TestCase):
    def test_what_wrk_tells_is_read_in_milliseconds(self):
        found = load.told_by_wrk(WRK)
        self.assertEqual((found["per_second"], found["refused"], found["requests"]), (4319.22, 12, 8638))
        self.assertAlmostEqual(found["p50"], 83.4)
        self.assertAlmostEqual(found["p99"], 1640)

    def test_a_generator_that_says_nothing_is_a_failure(self):
        self.assertRaises(Failed, load.told_by_wrk, "unable to connect")
        self.assertRaises(Failed, ceilings.calls_per_second, "")
        self.assertRaises(Failed, ceilings.produced_per_second, "")

    def test_what_was_offered_is_counted_by_what_became_of_it(self):
        told = {
            "asked": 100,
            "seconds": 2.0,
            "statuses": {"201": 80, "503": 15},
            "broken": 1,
            "givenUp": 4,
            "admitted": {"p50": 1.0, "p99": 2.0},
        }
        found = load.offered(told)
        self.assertEqual((found["accepted_per_second"], found["refused"], found["failed"]), (40, 15, 5))
        self.assertEqual(found["share"], 0.8)
        self.assertIsNone(found["max"])

    def test_a_summary_of_k6_is_put_into_our_names(self):
        times = {"type": "trend", "values": {"med": 5, "p(95)": 6, "p(99)": 7, "max": 8}}
        metrics = {
            "began": {"values": {"min": 1_000}},
            "ended": {"values": {"max": 3_000}},
            "accepted": {"values": {"count": 50}},
            "refused": {"values": {"count": 950}},
            "answer_ms": times,
        }
        found = load.counted({"metrics": metrics})
        self.assertEqual((found["seconds"], found["answers_per_second"], found["asked"]), (2, 500, 1_000))
        self.assertEqual(found["answer"], {"p50": 5, "p95": 6, "p99": 7, "max": 8})
        self.assertEqual((found["unsure"], found["yes"]["p50"]), (0, None))

    def test_no_two_loads_have_the_same_users(self):
        users = load.Users(7)
        self.assertEqual((users.take(10), users.take(5), users.take(1)), (7_000, 7_010, 7_015))

    def test_rates_of_the_ceilings_are_read(self):
        csv = (
            '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms"\n'
            '"EVALSHA 1f 4 k:{campaign:1}:state","71942.45","0.5","0.1","0.4"\n'
        )
        self.assertEqual(ceilings.calls_per_second(csv), 71942.45)
        told = (
            "500000 records sent, 200000.0 records/sec (0.2 MB/sec), 1.0 ms avg latency.\n"
            "400000 steady state records sent, 250000.5 records/sec (45.00 MB/sec), 3.01 ms avg latency.\n"
        )
        self.assertEqual(ceilings.produced_per_second(told), 250000.5)


class Ceilings(unittest.TestCase):
    def test_the_best_way_is_the_one_with_the_highest_median(self):
        ways = {"a": {"median": 1}, "b": {"median": 3}, "c": {"median": None}}
        self.assertEqual(limits.best(ways), ("b", {"median": 3}))

    def test_medians_are_those_of_each_way(self):
        def one(value):
            return {
                "plain": {"per_second": value},
                "accepted": value,
                "accepted_many": value,
                "refused": value,
                "drained": value,
                "admission": {"x": value},
                "sql": {"pending": {"1 session, 64": value}, "published": {"1 session, 64": value}},
                "pairs": [{"accepted": value, "sql": value, "fraction": 1.0}],
                **dict.fromkeys(("generator", "queries", "scripts"), value),
                "producer": {"x": value},
            }

        found = limits.summed([one(1), one(2), one(9)])
        self.assertEqual(found["admission"]["x"]["median"], 2)
        self.assertEqual(found["pairs"]["sql"]["median"], 2)
        shares = [share for *_, share in limits.fractions(found)]
        self.assertEqual(shares, [1.0] * len(shares))


if __name__ == "__main__":
    unittest.main()
