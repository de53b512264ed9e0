"""Numbers: medians with their range, quantiles of histograms, and Prometheus' text format. Pure."""

import math
import statistics


def spread(values):
    """The median of rounds, with the least and the most: one number alone hides how much it moves."""
    known = [value for value in values if value is not None]
    if not known:
        return {"median": None, "min": None, "max": None, "rounds": 0}
    return {
        "median": statistics.median(known),
        "min": min(known),
        "max": max(known),
        "rounds": len(known),
    }


def spreads(rows):
    """A spread for every number of dictionaries that have the same keys, at any depth."""
    first = next((row for row in rows if isinstance(row, dict)), {})
    found = {}
    for key in first:
        values = [row.get(key) for row in rows if isinstance(row, dict)]
        if any(isinstance(value, dict) for value in values):
            found[key] = spreads([value for value in values if isinstance(value, dict)])
        elif all(value is None or is_number(value) for value in values):
            found[key] = spread(values)
    return found


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def quantile(values, share):
    """The value that this share of them does not exceed; None when there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


class Metrics:
    """What a process says at /metrics at one moment."""

    def __init__(self, text):
        self.samples = {}
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            name, labels, value = parse_sample(line)
            self.samples.setdefault(name, []).append((labels, value))

    def total(self, name, **labels):
        """The sum over all samples that have these labels; None when there is no such metric."""
        found = [value for has, value in self.samples.get(name, []) if matches(has, labels)]
        return sum(found) if found else None

    def histogram(self, name, **labels):
        """The cumulative counts by upper bound, with the sum; None when there is no such histogram."""
        buckets = {}
        for has, value in self.samples.get(f"{name}_bucket", []):
            if matches(has, labels):
                bound = float(has["le"].replace("+Inf", "inf"))
                buckets[bound] = buckets.get(bound, 0) + value
        if not buckets:
            return None
        return Histogram(buckets, self.total(f"{name}_sum", **labels) or 0.0)

    def histograms(self):
        """The names of all of them that are in seconds."""
        names = {name.removesuffix("_bucket") for name in self.samples if name.endswith("_bucket")}
        return sorted(name for name in names if name.endswith("_seconds"))


def matches(has, labels):
    return all(has.get(key) == value for key, value in labels.items())


def parse_sample(line):
    """A line of the text format: its name, its labels, its value."""
    head, _, value = line.rpartition(" ")
    name, brace, rest = head.partition("{")
    labels = {}
    if brace:
        # A value holds no comma or quotation mark here: routes, words, bounds.
        for part in rest.rstrip("}").split('",'):
            key, _, text = part.partition("=")
            labels[key.strip()] = text.strip('"')
    return name, labels, float(value)


class Histogram:
    """Cumulative counts by upper bound in seconds, and the sum of what was observed."""

    def __init__(self, buckets, total):
        self.buckets, self.total = dict(sorted(buckets.items())), total

    @property
    def count(self):
        return self.buckets.get(math.inf, 0)

    def since(self, before):
        """What was observed since; all of it when nothing was known before."""
        if before is None:
            return self
        buckets = {bound: count - before.buckets.get(bound, 0) for bound, count in self.buckets.items()}
        return Histogram(buckets, self.total - before.total)

    def quantile_ms(self, share):
        """In milliseconds, interpolated within its bucket; the bound of the last one that has an end."""
        wanted, low, below = share * self.count, 0.0, 0.0
        if self.count <= 0:
            return None
        for bound, count in self.buckets.items():
            if count >= wanted and count > below:
                if bound == math.inf:
                    return low * 1000
                return 1000 * (low + (bound - low) * (wanted - below) / (count - below))
            low, below = bound, count
        return low * 1000

    def summary(self):
        return {
            "count": self.count,
            "mean": 1000 * self.total / self.count if self.count else None,
            "p50": self.quantile_ms(0.5),
            "p95": self.quantile_ms(0.95),
            "p99": self.quantile_ms(0.99),
        }


def observed(before, after, name, **labels):
    """What a histogram observed between two looks, in milliseconds; None when there is no such one."""
    last = after.histogram(name, **labels)
    return None if last is None else last.since(before.histogram(name, **labels)).summary()


def text(value, digits=None):
    """A number for people: three digits that matter and thin groups, a dash for what was not measured."""
    if value is None:
        return "–"
    if not is_number(value):
        return str(value)
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 100 or float(value).is_integer() else 1 if size >= 10 else 2
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def ranged(found, digits=None):
    """A spread for people: the median, and the range where there was more than one round."""
    if not found or found.get("median") is None:
        return "–"
    middle = text(found["median"], digits)
    if found["rounds"] < 2 or found["min"] == found["max"]:
        return middle
    return f"{middle} ({text(found['min'], digits)} to {text(found['max'], digits)})"
