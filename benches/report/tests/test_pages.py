import html.parser
import unittest

from benches.report import figures, pages
from benches.report.pages import Heading, Paragraph, Plot, Table, Tiles

BLOCKS = [
    Tiles([("3", "of `x`")]),
    Heading("One", "one"),
    Paragraph("**strong** and `a<b>`"),
    Table("Figures", ["", "ms"], [["a|b", "2 (1 to 3)"]], note="A note."),
    Table("More", ["", "ms"], [["a", "1"]], folded=True),
    Plot("name", "<svg></svg>", "A plot."),
]
WITHOUT_END = {"meta", "link", "br", "img", "hr"}


class Nesting(html.parser.HTMLParser):
    """Fails on a tag that is not closed, or closed in the wrong place."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


class Pages(unittest.TestCase):
    def test_the_page_is_nested_as_it_should_be(self):
        parser = Nesting()
        parser.feed(pages.page("Title", BLOCKS))
        self.assertEqual(parser.open, [])

    def test_the_page_needs_nothing_from_elsewhere(self):
        text = pages.page("Title", BLOCKS)
        for word in ("http:", "https:", "src=", "<script", "@import", "url("):
            self.assertNotIn(word, text)

    def test_words_are_escaped_and_marked(self):
        text = pages.page("Title", BLOCKS)
        self.assertIn("<strong>strong</strong>", text)
        self.assertIn("<code>a&lt;b&gt;</code>", text)

    def test_every_heading_is_linked_to(self):
        text = pages.page("Title", BLOCKS)
        self.assertIn('<a href="#one">One</a>', text)
        self.assertIn('<h2 id="one">', text)

    def test_a_range_is_said_beneath_its_median(self):
        self.assertIn("2<small>1 to 3</small>", pages.page("Title", BLOCKS))
        large = figures.ranged(figures.spread([1_000, 2_000, 30_000]))
        self.assertEqual(pages.cell_in_html(large), "2\u202f000<small>1\u202f000 to 30\u202f000</small>")

    def test_a_table_in_markdown_has_as_many_cells_in_each_line(self):
        text = pages.markdown("Title", BLOCKS)
        lines = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
        self.assertEqual({line.count("|") for line in lines}, {3})

    def test_columns_of_words_stand_to_the_left(self):
        table = Table(
            "", ["a", "b", "c", "d"], [["1", "2 (1 to 3)", "2 cores", "in the answer"], ["1", "–", "x", "3"]]
        )
        self.assertEqual(pages.wordy(table), [True, False, True, False])
        self.assertEqual(pages.wordy(Table("", ["a", "b"], [])), [True, True])
        self.assertIn("|---|---:|---|---:|", pages.table_in_markdown(table))

    def test_a_plot_in_markdown_is_the_file_beside_it(self):
        self.assertIn("![A plot.](plots/name.svg)", pages.markdown("Title", BLOCKS))

    def test_what_is_folded_stays_folded(self):
        self.assertIn("<summary>More</summary>", pages.markdown("Title", BLOCKS))
        self.assertIn("<summary>More</summary>", pages.page("Title", BLOCKS))


if __name__ == "__main__":
    unittest.main()
