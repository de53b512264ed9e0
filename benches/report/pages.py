"""The report as pages: Markdown for the repository, and one HTML page that needs nothing else. Pure.

A page is a list of blocks. Words in them may be **strong** or `code`, and nothing else.
"""

import dataclasses
import html
import re


@dataclasses.dataclass(frozen=True)
class Heading:
    """A section; `slug` is its address in the page."""

    title: str
    slug: str


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Words."""

    words: str


@dataclasses.dataclass(frozen=True)
class Note:
    """Words that may be passed over."""

    words: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of figures stand to the right, the others to the left. A folded one is shown when asked for."""

    title: str
    head: list
    rows: list
    note: str = ""
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Plot:
    """An SVG; its name is that of its file."""

    name: str
    svg: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Tiles:
    """A few figures at the top: each a figure, and what it is."""

    tiles: list


def markdown(title, blocks):
    """The text of README.md; plots are files beside it."""
    return f"# {title}\n\n" + "\n\n".join(in_markdown(block) for block in blocks) + "\n"


def in_markdown(block):
    match block:
        case Heading(title):
            return f"## {title}"
        case Paragraph(words):
            return words
        case Note(words):
            return f"<sub>{words}</sub>"
        case Plot(name, _, caption):
            return f"![{caption}](plots/{name}.svg)\n\n*{caption}*"
        case Tiles(tiles):
            return "\n".join(f"- **{figure}**: {name}" for figure, name in tiles)
        case Table():
            return table_in_markdown(block)
    raise TypeError(type(block))


def wordy(table):
    """For each column whether it is words: the first is, and any of which less than half is figures."""
    columns = zip(*table.rows) if table.rows else [[] for _ in table.head]
    return [nth == 0 or not mostly_figures(list(column)) for nth, column in enumerate(columns)]


def mostly_figures(cells):
    return bool(cells) and 2 * sum(bool(FIGURE.match(str(cell))) for cell in cells) >= len(cells)


# A number, a share or nothing, with its range.
FIGURE = re.compile(r"^(–|[\d.\u202f]+%?)( \([^)]*\))?$")


def table_in_markdown(table):
    def line(cells):
        return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "".join("---|" if words else "---:|" for words in wordy(table))
    body = "\n".join([line(table.head), rule, *(line(row) for row in table.rows)])
    note = f"\n\n{table.note}" if table.note else ""
    if table.folded:
        return f"<details><summary>{table.title}</summary>\n\n{body}{note}\n\n</details>"
    return f"### {table.title}\n\n{body}{note}"


def page(title, blocks):
    """The one HTML page."""
    headings = [block for block in blocks if isinstance(block, Heading)]
    links = "".join(f'<a href="#{block.slug}">{html.escape(block.title)}</a>' for block in headings)
    body = "\n".join(in_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><main><h1>{html.escape(title)}</h1><nav>{links}</nav>\n{body}\n</main></body></html>\n"
    )


def in_html(block):
    match block:
        case Heading(title, slug):
            return f'<h2 id="{slug}">{html.escape(title)}</h2>'
        case Paragraph(words):
            return f"<p>{inline(words)}</p>"
        case Note(words):
            return f'<p class="note">{inline(words)}</p>'
        case Plot(_, svg, caption):
            return f"<figure>{svg}<figcaption>{inline(caption)}</figcaption></figure>"
        case Tiles(tiles):
            inner = "".join(
                f"<div><b>{html.escape(figure)}</b><span>{inline(name)}</span></div>"
                for figure, name in tiles
            )
            return f'<div class="tiles">{inner}</div>'
        case Table():
            return table_in_html(block)
    raise TypeError(type(block))


def table_in_html(table):
    kinds = [' class="w"' if words else "" for words in wordy(table)]
    head = "".join(f"<th{kind}>{inline(cell)}</th>" for kind, cell in zip(kinds, table.head))
    rows = "".join(row_in_html(kinds, row) for row in table.rows)
    body = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    note = f'<p class="note">{inline(table.note)}</p>' if table.note else ""
    if table.folded:
        return f"<details><summary>{inline(table.title)}</summary>{body}{note}</details>"
    return f"<h3>{inline(table.title)}</h3>{body}{note}"


def row_in_html(kinds, row):
    return (
        "<tr>" + "".join(f"<td{kind}>{cell_in_html(cell)}</td>" for kind, cell in zip(kinds, row)) + "</tr>"
    )


# Thousands are parted by a space that is narrow, so only a plain one ends the median.
RANGE = re.compile(r"^([^ ]+) \(([^ ]+ to [^ ]+)\)$")


def cell_in_html(cell):
    """The range of a median is said beneath it, small."""
    found = RANGE.match(str(cell))
    if found:
        return f"{inline(found.group(1))}<small>{inline(found.group(2))}</small>"
    return inline(str(cell))


def inline(words):
    """Escaped, with **strong** and `code`."""
    escaped = html.escape(str(words), quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)


STYLE = """
:root{color-scheme:light dark;--ink:#1f2328;--soft:#656d76;--line:#d8dee4;--back:#fff;--card:#f6f8fa;--link:#0969da}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--back:#0d1117;--card:#161b22;--link:#58a6ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.55 system-ui,-apple-system,'Segoe UI',sans-serif}
main{max-width:1200px;margin:0 auto;padding:2.5rem 1.25rem 5rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.35rem;margin:3rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1.02rem;margin:1.75rem 0 .5rem}
p{max-width:76ch}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
nav{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;margin:.75rem 0 1.5rem;font-size:.92rem}
code{font:.88em ui-monospace,SFMono-Regular,Menlo,monospace;background:var(--card);padding:.1em .3em;border-radius:4px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:.75rem;margin:1rem 0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem 1rem}
.tiles b{display:block;font-size:1.45rem;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:.88rem}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.87rem;font-variant-numeric:tabular-nums}
th,td{padding:.42rem .55rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft);background:var(--card);vertical-align:bottom;min-width:3.6rem}
th:first-child,td:first-child{text-align:left;white-space:nowrap;position:sticky;left:0;background:var(--back)}
th:first-child{background:var(--card)}
.w{text-align:left}
tbody tr:last-child td{border-bottom:0}
td small{display:block;color:var(--soft);font-size:.78em;white-space:nowrap}
.note{color:var(--soft);font-size:.87rem;margin-top:.5rem}
figure{margin:1.25rem 0;padding:1rem;border:1px solid var(--line);border-radius:8px}
figure svg{width:100%;height:auto;display:block;max-width:860px;margin:0 auto}
figcaption{color:var(--soft);font-size:.87rem;margin-top:.5rem;text-align:center}
details{margin:1rem 0}summary{cursor:pointer;color:var(--link)}details .wide{margin-top:.6rem}
"""
