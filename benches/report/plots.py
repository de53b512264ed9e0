"""Plots as SVG: no script, no font and no address of another place. Pure."""

import dataclasses
import html
import math

from .figures import text

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 74, 22, 40, 46
# Told apart also by those who see few colours, and by brightness when printed.
STYLE = """
.fc{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#24292f}
.fc .soft{fill:#656d76}.fc .grid{stroke:#d8dee4;stroke-width:1}.fc .axis{stroke:#8c959f;stroke-width:1}
.fc .s0{--c:#1f6feb}.fc .s1{--c:#d4680b}.fc .s2{--c:#12805c}.fc .s3{--c:#8250df}.fc .s4{--c:#a40e26}
.fc .line{fill:none;stroke:var(--c);stroke-width:2.2;stroke-linejoin:round}.fc .fill{fill:var(--c)}
.fc .dot{fill:var(--c);stroke:#fff;stroke-width:1.5}.fc .value{font-size:10.5px}
.fc .whole{fill:#8c959f}.fc .part{fill:#1f6feb}.fc .inner{fill:#8cb8f5}.fc .rest{fill:#d0d7de}.fc .after{fill:#12805c}
@media (prefers-color-scheme:dark){.fc{fill:#e6edf3}.fc .soft{fill:#9198a1}.fc .grid{stroke:#30363d}
.fc .axis{stroke:#6e7681}.fc .s0{--c:#58a6ff}.fc .s1{--c:#f0883e}.fc .s2{--c:#3fb68b}.fc .s3{--c:#bc8cff}
.fc .s4{--c:#ff7b72}.fc .dot{stroke:#0d1117}.fc .part{fill:#58a6ff}.fc .inner{fill:#2d5486}.fc .rest{fill:#484f58}.fc .after{fill:#3fb68b}}
""".replace("\n", "")


@dataclasses.dataclass(frozen=True)
class Series:
    """A name, and pairs of x and y for lines, or a value for each group of bars; None where there is none."""

    name: str
    values: list


@dataclasses.dataclass(frozen=True)
class Step:
    """A bar of a waterfall: where it begins, how long it is, and whole, part, inner, rest or after."""

    name: str
    at: float
    took: float
    kind: str


class Scale:
    """From values to a place along an axis."""

    def __init__(self, values, low, high, *, log=False, zero=True):
        known = [value for value in values if value is not None and (value > 0 or not log)] or [1.0]
        self.log, self.low, self.high = log, low, high
        if log:
            self.first = 10.0 ** math.floor(math.log10(min(known)))
            self.last = 10.0 ** math.ceil(math.log10(max(known)))
            if self.first == self.last:
                self.last *= 10
            self.ticks = decades(self.first, self.last)
        else:
            first = 0.0 if zero else min(known)
            self.ticks = even(first, max(known))
            self.first, self.last = self.ticks[0], self.ticks[-1]

    def place(self, value):
        if self.log:
            value = max(value, self.first)
            share = math.log10(value / self.first) / math.log10(self.last / self.first)
        else:
            share = (value - self.first) / (self.last - self.first)
        return self.low + share * (self.high - self.low)


def decades(first, last):
    """Ticks of a logarithmic axis: powers of ten, and 2 and 5 of them where there is room."""
    count = round(math.log10(last / first))
    some = (1, 2, 5) if count <= 2 else (1,)
    ticks = [first * 10**power * factor for power in range(count) for factor in some]
    return [*ticks, last]


def even(first, last):
    """About five ticks at 1, 2 or 5 times a power of ten, the last of which is not below the last value."""
    span = (last - first) or abs(last) or 1.0
    size = 10.0 ** math.floor(math.log10(span / 5))
    step = next(size * factor for factor in (1, 2, 5, 10) if span / (size * factor) <= 5.5)
    begin = math.floor(first / step)
    return [step * nth for nth in range(begin, math.ceil(last / step - 1e-9) + 1 + (last == first))]


def short(value):
    """A tick: thousands and millions in short."""
    for size, word in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{word}"
    return f"{value:g}"


def written(x, y, words, *, anchor="start", kind="", turn=None):
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn is not None else ""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}{turned}>{html.escape(words)}</text>'


def framed(parts, title, height=HEIGHT):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fc" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}"><title>{html.escape(title)}</title><style>{STYLE}</style>'
        + "".join(parts)
        + "</svg>"
    )


def legend(series):
    parts, x = [], LEFT
    for nth, one in enumerate(series):
        parts.append(f'<rect class="fill s{nth % 5}" x="{x}" y="12" width="12" height="12" rx="2"/>')
        parts.append(written(x + 18, 22, one.name))
        x += 34 + 6.6 * len(one.name)
    return parts


def vertical(scale, name):
    """Lines across and their values, and what they are of."""
    parts = []
    for tick in scale.ticks:
        y = scale.place(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(written(LEFT - 8, y + 4, short(tick), anchor="end", kind="soft"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [*parts, written(16, middle, name, anchor="middle", kind="soft", turn=-90)]


def horizontal(name):
    base = HEIGHT - BOTTOM
    line = f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base}" y2="{base}"/>'
    return [line, written((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, name, anchor="middle", kind="soft")]


def lines(series, *, x, y, log_x=False, log_y=False):
    """A line for each series; points without a value are left out."""
    kept = [
        Series(one.name, [(a, b) for a, b in one.values if a is not None and b is not None]) for one in series
    ]
    across = Scale([a for one in kept for a, _ in one.values], LEFT, WIDTH - RIGHT, log=log_x)
    up = Scale([b for one in kept for _, b in one.values], HEIGHT - BOTTOM, TOP, log=log_y)
    parts = [*legend(kept), *vertical(up, y), *horizontal(x)]
    for tick in across.ticks:
        parts.append(
            written(across.place(tick), HEIGHT - BOTTOM + 18, short(tick), anchor="middle", kind="soft")
        )
    for nth, one in enumerate(kept):
        places = [(across.place(a), up.place(b)) for a, b in one.values]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline class="line s{nth % 5}" points="{path}"/>')
        for (a, b), (at, value) in zip(places, one.values):
            told = html.escape(f"{one.name}: {text(value)} {y} at {text(at)} {x}")
            parts.append(
                f'<circle class="dot s{nth % 5}" cx="{a:.1f}" cy="{b:.1f}" r="4"><title>{told}</title></circle>'
            )
    return framed(parts, f"{y} by {x}")


def bars(groups, series, *, y, x="", log=False):
    """Groups of bars side by side, each with its value where there is room."""
    values = [value for one in series for value in one.values]
    up = Scale(values, HEIGHT - BOTTOM, TOP, log=log)
    parts = [*legend(series), *vertical(up, y), *horizontal(x)]
    room = (WIDTH - LEFT - RIGHT) / max(len(groups), 1)
    width = min(room * 0.8 / max(len(series), 1), 46)
    for place, group in enumerate(groups):
        middle = LEFT + room * (place + 0.5)
        parts.append(written(middle, HEIGHT - BOTTOM + 18, group, anchor="middle", kind="soft"))
        for nth, one in enumerate(series):
            value = one.values[place]
            if value is None:
                continue
            left = middle + (nth - len(series) / 2) * width
            top = up.place(value)
            told = html.escape(f"{one.name}, {group}: {text(value)} {y}")
            size = max(HEIGHT - BOTTOM - top, 0)
            parts.append(
                f'<rect class="fill s{nth % 5}" x="{left + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" '
                f'height="{size:.1f}" rx="2"><title>{told}</title></rect>'
            )
            if width >= 26:
                parts.append(written(left + width / 2, top - 4, text(value), anchor="middle", kind="value"))
    return framed(parts, f"{y} by {x}" if x else y)


def flat_bars(names, values, *, x):
    """One bar for each of some long names, above one another."""
    row, left = 40, 16
    height = row * len(names) + 20
    most = max([value for value in values if value is not None] or [1.0])
    # A fraction is drawn against one, so that what is missing to it is seen.
    end = max(most, 1.0)
    parts = []
    for nth, (name, value) in enumerate(zip(names, values)):
        y = 10 + row * nth
        room = WIDTH - left - 70
        parts.append(written(left, y + 10, name))
        parts.append(
            f'<rect class="rest" x="{left}" y="{y + 16}" width="{room / end:.1f}" height="10" rx="2"/>'
        )
        if value is not None:
            size = room * value / end
            told = html.escape(f"{name}: {text(value)} {x}")
            parts.append(
                f'<rect class="fill s0" x="{left}" y="{y + 16}" width="{size:.1f}" height="10" rx="2">'
                f"<title>{told}</title></rect>"
            )
        parts.append(written(left + room * max((value or 0) / end, 1 / end) + 8, y + 25, text(value, 2)))
    return framed(parts, x, height)


def waterfall(steps, *, x):
    """Bars that begin where the ones before them end, each with its name above it."""
    row, left = 38, 16
    height = row * len(steps) + 46
    across = Scale([step.at + step.took for step in steps], left, WIDTH - 76)
    base = height - 34
    parts = []
    for tick in across.ticks:
        place = across.place(tick)
        parts.append(f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="6" y2="{base}"/>')
        parts.append(written(place, base + 16, short(tick), anchor="middle", kind="soft"))
    parts.append(written((left + WIDTH - 76) / 2, height - 3, x, anchor="middle", kind="soft"))
    for nth, step in enumerate(steps):
        y = 10 + row * nth
        begin, end = across.place(step.at), across.place(step.at + step.took)
        parts.append(written(left, y + 10, step.name))
        parts.append(
            f'<rect class="{step.kind}" x="{begin:.1f}" y="{y + 14}" width="{max(end - begin, 1):.1f}" height="12" rx="2"/>'
        )
        parts.append(written(max(end, begin + 1) + 6, y + 24, f"{text(step.took)} {x}", kind="value"))
    return framed(parts, f"stages in {x}", height)
