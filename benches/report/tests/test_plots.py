import unittest
import xml.etree.ElementTree as xml

from benches.report import plots
from benches.report.plots import Scale, Series, Step

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg):
    """Well-formed, or it raises."""
    return xml.fromstring(svg)


class Scales(unittest.TestCase):
    def test_the_ends_of_an_even_scale_hold_all_values(self):
        scale = Scale([3, 97], 0, 100)
        self.assertEqual(scale.first, 0)
        self.assertGreaterEqual(scale.last, 97)
        self.assertEqual(scale.place(scale.last), 100)

    def test_a_logarithmic_scale_ends_at_powers_of_ten(self):
        scale = Scale([30, 4_000], 0, 100, log=True)
        self.assertEqual((scale.first, scale.last), (10, 10_000))
        self.assertAlmostEqual(scale.place(100), 100 / 3)

    def test_a_logarithmic_scale_has_a_place_for_nothing(self):
        scale = Scale([0, 10], 0, 100, log=True)
        self.assertEqual(scale.place(0), 0)

    def test_scales_of_one_value_or_of_none_are_scales(self):
        for values in ([5], [0], [], [None], [1, 1]):
            for log in (False, True):
                with self.subTest(values=values, log=log):
                    scale = Scale(values, 0, 100, log=log)
                    self.assertLess(scale.first, scale.last)

    def test_ticks_are_few_and_end_beyond_the_last_value(self):
        for last in (0.003, 1, 7, 99, 101, 12_345):
            ticks = plots.even(0.0, last)
            self.assertTrue(3 <= len(ticks) <= 7, ticks)
            self.assertGreaterEqual(ticks[-1] * (1 + 1e-9), last)


class Plots(unittest.TestCase):
    def test_a_line_has_a_dot_for_every_value(self):
        root = drawn(plots.lines([Series("a", [(1, 2), (3, None), (5, 6)])], x="x", y="y"))
        self.assertEqual(len(root.findall(f"{SVG}circle")), 2)
        self.assertEqual(len(root.findall(f"{SVG}polyline")), 1)

    def test_a_bar_that_was_not_measured_is_not_drawn(self):
        root = drawn(plots.bars(["g", "h"], [Series("a", [1, None]), Series("b", [2, 3])], y="ms"))
        # One more for each series in the legend.
        self.assertEqual(len(root.findall(f"{SVG}rect")), 3 + 2)

    def test_plots_of_nothing_are_plots(self):
        drawn(plots.lines([], x="x", y="y", log_x=True, log_y=True))
        drawn(plots.bars([], [], y="y", log=True))
        drawn(plots.flat_bars([], [], x="x"))
        drawn(plots.waterfall([], x="ms"))

    def test_steps_follow_each_other(self):
        root = drawn(plots.waterfall([Step("a", 0, 4, "part"), Step("b", 4, 6, "rest")], x="ms"))
        first, second = root.findall(f"{SVG}rect")
        end = float(first.get("x")) + float(first.get("width"))
        self.assertAlmostEqual(end, float(second.get("x")), places=0)

    def test_names_are_escaped(self):
        root = drawn(plots.flat_bars(["<a> & b"], [0.5], x="x"))
        self.assertIn("<a> & b", [text.text for text in root.findall(f"{SVG}text")])

    def test_nothing_is_fetched_from_elsewhere(self):
        svg = plots.bars(["g"], [Series("a", [1])], y="ms").replace("http://www.w3.org/2000/svg", "")
        self.assertNotIn("http", svg)


if __name__ == "__main__":
    unittest.main()
