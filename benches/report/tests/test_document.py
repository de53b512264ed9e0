import dataclasses
import itertools
import json
import pathlib
import tempfile
import unittest

from benches.report import document, limits, stages
from benches.report import growth as growth_report
from benches.report.figures import spreads
from benches.report.settings import FORMS
from benches.report.ways import MODES, at_knee, compared

QUANTILES = {"count": 10, "mean": 2.0, "p50": 1.0, "p95": 3.0, "p99": 4.0}
COST = {"cpu_percent": 50.0, "cpu_ms_each": 1.5, "memory_mib": 64.0}
COSTS = dict.fromkeys(("service", "mysql", "redis", "kafka", "generator"), COST)
LATENCY = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}
ORDER = {
    "by_participation": 0,
    "by_key": 0,
    "rank_in_partition": 1,
    "rank_overall": 2,
    "redelivered": 0,
    "events": 10,
    "busiest_share": 0.5,
}


def ways():
    """Of each way; the synchronous one has no time from commit to acknowledgement."""
    found = {}
    for mode, (way, _) in MODES.items():
        published = None if way == "sync" else QUANTILES
        one = {
            "seconds": 1.0,
            "answers_per_second": 100.0,
            "answer": LATENCY,
            "yes": LATENCY,
            "busy": 0,
            "unsure": 0,
            "oversold": 0,
            "published": published,
            "costs": COSTS,
        }
        step = {
            "rate": 100,
            "accepted_per_second": 99.0,
            "share": 0.99,
            **LATENCY,
            "published": published,
            "costs": COSTS,
            "holds": True,
        }
        # A second step without a value: an older generator does not tell it.
        steps = [step, {**step, "rate": 200, "max": None, "holds": False}]
        found[mode] = {
            "rush": spreads([one, one]),
            "crowd": spreads([one, one]),
            "ramps": [{"steps": steps, "knee": 100, "accepted": 99.0, "comfort": step}],
        }
        found[mode]["knee"] = spreads([at_knee(ramp) for ramp in found[mode]["ramps"]])
    found["async"]["beside"] = spreads([compared(100, *({"p99": p99, "holds": True} for p99 in (90.0, 3.0)))])
    return found


def partitions():
    # Nothing consumed a second: one look saw all of it.
    one = {
        "events": 20,
        "published_per_second": 10.0,
        "consumed_per_second": None,
        "arrival_violations": 1,
        "clean": 1,
        "live": ORDER,
        "backlog": ORDER,
    }
    return [
        {"key": key, "partitions": count, **spreads([one])}
        for key in ("user", "campaign")
        for count in (1, 3)
    ]


def days():
    one = {"days": 30, "aggregated_seconds": 1.0, "daily_p99_ms": 2.0, "ratio": 9.0}
    figures = spreads([{"raw_ms": 9.0, "daily_ms": 1.0}])
    return [{"rows": rows, **one, **figures} for rows in (1_000, 5_000_000)]


def one_stage():
    statements = dict.fromkeys((*stages.STATEMENTS, "COMMIT"), QUANTILES)
    return {
        "rate": 50,
        "accepted_per_second": 50.0,
        "answer": {**QUANTILES, "mean": 20.0},
        "published": QUANTILES,
        "stages": dict.fromkeys(stages.STAGES, QUANTILES),
        "gate_script_ms": 0.1,
        "gate_calls": 10,
        "statements": statements,
        "histograms": {"firstcome_x_seconds": QUANTILES},
    }


def growth():
    one = {"accepted_per_second": 10.0, "p50": 1.0, "p99": 2.0}
    first = {**one, "rebuild_seconds": 1.0, "redis_mib": 3.0, "idle_mib": 4.0, "busy_mib": 5.0}
    return {
        kind: [{"size": size, **spreads([first, one])} for size in (0, 10)]
        for kind in growth_report.TITLES
    }


def ceilings():
    one = {
        "plain": {"per_second": 9.0},
        "accepted": 3.0,
        "accepted_many": 4.0,
        "refused": 8.0,
        "drained": 5.0,
        "admission": {"x": 30.0},
        "sql": {"pending": {"1 session, 64": 20.0}, "published": {"1 session, 64": 10.0}},
        "pairs": [{"accepted": 3.0, "sql": 9.0, "fraction": 0.33}, {"accepted": 4.0, "sql": 8.0, "fraction": 0.5}],
        **{"generator": 0.2, "queries": 0.05, "scripts": 0.1},
        "producer": {"x": 50.0},
    }
    return limits.summed([one])


def run(figures, breaches=()):
    measured = {
        "when": "2026-01-01 00:00 UTC",
        "seed": 1,
        "minutes": 1.0,
        "settings": dataclasses.asdict(FORMS["full"]),
        "breaches": list(breaches),
    }
    return {
        "machine": {"cores": 2},
        "experiments": {name: {**measured, "figures": one} for name, one in figures.items()},
    }


WHOLE = {
    "ways": ways(),
    "partitions": partitions(),
    "days": days(),
    "stages": [one_stage()],
    "growth": growth(),
}


class Documents(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def rendered(self, **runs):
        for name, found in runs.items():
            document.save(self.folder, name, found)
        document.render(self.folder)
        return (self.folder / "README.md").read_text(), (self.folder / "index.html").read_text()

    def test_every_experiment_is_in_both_pages(self):
        for text in self.rendered(compare=run(WHOLE), limits=run({"limits": ceilings()})):
            for title, _ in document.SECTIONS.values():
                self.assertIn(title, text)

    def test_every_plot_that_is_referred_to_is_there_and_no_other(self):
        stale = self.folder / "plots/stale.svg"
        stale.parent.mkdir(parents=True)
        stale.touch()
        text, page = self.rendered(compare=run(WHOLE), limits=run({"limits": ceilings()}))
        files = {file.name for file in (self.folder / "plots").glob("*.svg")}
        self.assertEqual(
            files, {line.split("plots/")[1].split(")")[0] for line in text.splitlines() if "](plots/" in line}
        )
        self.assertEqual(page.count("<svg"), len(files))

    def test_a_breach_is_said_at_the_top(self):
        for text in self.rendered(compare=run(WHOLE, ["rush, sync: oversold: 52 of 50 units"])):
            self.assertIn("oversold: 52 of 50 units", text)
            # Before the first plot, wherever it was found.
            self.assertLess(
                text.index("oversold: 52"), min(text.find("<svg") % len(text), text.find("![") % len(text))
            )

    def test_a_run_of_some_experiments_or_of_the_ceilings_alone_is_shown(self):
        self.rendered(compare=run({"days": days()}))
        (self.folder / "compare.json").unlink()
        text, _ = self.rendered(limits=run({"limits": ceilings()}))
        self.assertIn(document.SECTIONS["limits"][0], text)

    def test_a_run_from_before_latency_was_measured_for_longer_is_shown(self):
        before = run(WHOLE)
        del before["experiments"]["ways"]["settings"]["comfort_seconds"]
        for text in self.rendered(compare=before):
            self.assertIn("7 s at 70%", text)

    def test_the_pages_are_the_same_when_they_are_made_again(self):
        first = self.rendered(compare=run(WHOLE))
        self.assertEqual(first, self.rendered())

    def test_the_figures_are_kept_as_they_were_measured(self):
        self.rendered(compare=run(WHOLE))
        self.assertEqual(
            json.loads((self.folder / "compare.json").read_text())["experiments"]["days"]["figures"], days()
        )


class Stages(unittest.TestCase):
    def test_parts_and_rest_together_are_the_answer(self):
        whole, *steps, wake, publish = stages.steps(one_stage())
        outer = [step for step in steps if step.kind != "inner"]
        self.assertAlmostEqual(sum(step.took for step in outer), whole.took)
        self.assertEqual([wake.at, publish.at], [whole.took, whole.took + wake.took])

    def test_inner_steps_begin_with_their_stage(self):
        steps = stages.steps(one_stage())
        for outer, inner in itertools.pairwise(steps):
            if outer.kind == "part" and inner.kind == "inner":
                self.assertEqual(inner.at, outer.at)

    def test_a_stage_that_nobody_passed_takes_no_time(self):
        one = one_stage()
        one["stages"] = dict.fromkeys(stages.STAGES)
        rest = next(step for step in stages.steps(one) if step.kind == "rest")
        self.assertAlmostEqual(rest.took, one["answer"]["mean"])

    def test_a_commit_counts_when_its_transaction_wrote_participations(self):
        kept = [
            ["1", "0", "BEGIN"],
            ["1", "1000000000", "UPDATE campaign SET committed_units = …"],
            ["1", "2000000000", "INSERT INTO participation (id"],
            ["1", "5000000000", "COMMIT"],
            ["2", "0", "BEGIN"],
            ["2", "1", "DELETE FROM outbox_parked"],
            ["2", "9000000000", "COMMIT"],
            # The beginning of this one is not kept any more.
            ["3", "7000000000", "COMMIT"],
        ]
        found = stages.commits(kept)
        self.assertEqual(found["COMMIT"], [5.0])
        self.assertEqual(found["participations"], [2.0])
        self.assertEqual(found["the campaign's row"], [1.0])


if __name__ == "__main__":
    unittest.main()
