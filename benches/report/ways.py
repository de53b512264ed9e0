"""Experiment 1: to participate asynchronously, synchronously, and asynchronously without group commit.

At equal durability: the same MySQL, Redis and Kafka, the same settings, one after the other in turns.
"""

import math

from . import load
from .checks import examine
from .figures import observed, ranged, spreads, text
from .pages import Paragraph, Plot, Table
from .plots import Series, bars, lines
from .processes import Watch
from .service import Installation

# By name: which route, and which settings of the service.
MODES = {
    "async": ("async", {}),
    "async, one row a commit": ("async", {"FIRSTCOME_WRITER_BATCH_ROWS_MAX": "1"}),
    "sync": ("sync", {}),
}
PUBLISHED = "firstcome_relay_commit_to_ack_seconds"
RATE_MIN = 10
# The knee is known when the rate above it is no further off than this power of the factor.
CLOSE = 0.1
# A rate does not hold when it did in none of so many tries: where the machine's disk stands still is no knee.
TRIES = 2
# Of the knee: where a service that is planned for works.
COMFORT = 0.7
PARTS = ("service", "mysql", "redis", "kafka", "generator")


def measure(bench):
    found = {mode: {"rush": [], "crowd": [], "ramps": []} for mode in MODES}
    pairs = []
    for number in range(bench.settings.rounds):
        # Another one begins in each round, so that a slow moment of the machine hits all.
        turn = list(MODES)[number % len(MODES) :] + list(MODES)[: number % len(MODES)]
        for mode in turn:
            bench.in_time()
            for shape, one in once(bench, mode, number).items():
                found[mode][shape].append(one)
        pairs += side_by_side(bench, number, found["sync"]["ramps"][-1]["knee"])
    for shapes in found.values():
        for shape in ("rush", "crowd"):
            shapes[shape] = spreads(shapes[shape])
        shapes["knee"] = spreads([at_knee(ramp) for ramp in shapes["ramps"]])
    found["async"]["beside"] = spreads(pairs)
    return found


def at_knee(ramp):
    """What a ramp found: the knee, the most that was accepted, and latency there and below."""
    at = (step for step in ramp["steps"] if step["rate"] == ramp["knee"] and step["holds"])
    knee = next(at, {})
    return {
        "knee": ramp["knee"],
        "accepted": ramp["accepted"],
        "p99": knee.get("p99"),
        "comfort_p50": (ramp["comfort"] or {}).get("p50"),
        "comfort_p99": (ramp["comfort"] or {}).get("p99"),
    }


def side_by_side(bench, number, rate):
    """Both ways at the knee that the synchronous one just had, one right after the other, several times.

    A machine's disk stalls for some steps and not for others: what is compared lies seconds apart.
    """
    pairs, accepted = [], {}
    if rate is None:
        return pairs
    with Installation(bench, f"ways_beside_{number}") as installation:
        service = warmed(bench, installation, "sync")
        for nth in range(bench.settings.knee_pairs):
            bench.in_time()
            steps = {}
            # Who begins takes turns.
            for mode in ("sync", "async") if nth % 2 == 0 else ("async", "sync"):
                steps[mode] = step(bench, installation, service, mode, accepted, rate, bench.settings.ramp_seconds)
            pairs.append(compared(rate, steps["sync"], steps["async"]))
        examine(bench, installation, list(accepted), where=f"beside, round {number + 1}", accepted=accepted)
    return pairs


def compared(rate, theirs, ours):
    """How much lower latency is; nothing where the other does not hold, as any ratio would be had there."""
    holds = theirs["holds"]
    return {
        "rate": rate,
        "theirs": theirs["p99"] if holds else None,
        "ours": ours["p99"] if holds else None,
        "ratio": theirs["p99"] / ours["p99"] if holds and ours["p99"] else None,
    }


def once(bench, mode, number):
    """All loads in one way, on an installation of their own that is warm."""
    with Installation(bench, f"ways_{list(MODES).index(mode)}_{number}") as installation:
        service = warmed(bench, installation, mode)
        found = {}
        for shape in ("rush", "crowd"):
            one = found[shape] = with_k6(bench, installation, service, mode, shape, number)
            rate, p50 = text(one["answers_per_second"]), text(one["answer"]["p50"])
            bench.say(f"{shape}, {mode}: {rate} answers/s, p50 {p50} ms")
        found["ramps"] = climb(bench, installation, service, mode)
        bench.say(f"ramp, {mode}: knee at {text(found['ramps']['knee'])}/s")
    return found


def warmed(bench, installation, mode):
    """The service in one way, after some traffic."""
    way, settings = MODES[mode]
    service = installation.start(**settings)
    if bench.settings.warm_seconds:
        warm = service.campaign("warm")
        load.open_load(bench, service, warm, way=way, seconds=bench.settings.warm_seconds, connections=64)
        installation.wait_until_published()
    return service


def watch(bench, service):
    return Watch({"service": [service.pid], **bench.parts.pids()})


def with_k6(bench, installation, service, mode, shape, number):
    """One load of k6 on a campaign of its own."""
    way, _ = MODES[mode]
    plan = bench.settings
    rush = shape == "rush"
    users, units = (plan.rush_users, plan.rush_units) if rush else (plan.crowd_units, plan.crowd_units)
    campaign = service.campaign(f"{shape} {mode}", totalStock=units)
    before = service.metrics()
    name = f"ways-{shape}-{mode.replace(', ', '-').replace(' ', '-')}-{number + 1}"
    with watch(bench, service) as watched:
        told, child = load.k6(
            bench,
            service,
            shape,
            way=way,
            campaign=campaign,
            users=users,
            at_once=plan.crowd_users,
            name=name,
        )
    where = f"{shape}, {mode}, round {number + 1}"
    verdict = examine(bench, installation, [campaign], where=where, accepted={campaign: told["accepted"]})
    # Where every request was answered yes or no, all that there is is sold. A busy machine may give none.
    if not told["unsure"] and told["accepted"] != min(units, users):
        bench.breach(f"{where}: {told['accepted']} accepted of {min(units, users)}")
    # Synchronously an event is acknowledged before the answer: the histogram is of the relay.
    published = observed(before, service.metrics(), PUBLISHED)
    told["published"] = None if way == "sync" else published
    told["costs"] = watched.costs(child, told["accepted"] + told["refused"])
    told["oversold"] = verdict["oversold"]
    return told


def climb(bench, installation, service, mode):
    """Rates one above the other until the service does not follow; the last it followed is the knee.

    Where it does not even follow the first one, lower ones until it does.
    """
    plan, steps, accepted = bench.settings, [], {}
    rate = plan.ramp_first
    while rate is not None and len(steps) < plan.ramp_steps_max:
        bench.in_time()
        one = step(bench, installation, service, mode, accepted, rate, plan.ramp_seconds)
        steps.append(one)
        rate = following([(one["rate"], one["holds"]) for one in steps], plan.ramp_factor)
    knee = max((one["rate"] for one in steps if one["holds"]), default=None)
    comfort = None
    if knee:
        rate = round(knee * COMFORT)
        comfort = step(bench, installation, service, mode, accepted, rate, plan.comfort_seconds)
    examine(bench, installation, list(accepted), where=f"ramp, {mode}", accepted=accepted)
    return {
        "steps": sorted(steps, key=lambda one: one["rate"]),
        "knee": knee,
        "comfort": comfort,
        # As much as was accepted at any rate: beyond the knee it may be more, only late.
        "accepted": max((one["accepted_per_second"] for one in steps), default=None),
    }


def following(tried, factor):
    """The rate to try after those, each with whether it held; None once the knee is known closely.

    Upwards by a factor until one does not hold, or downwards until one does; then in between.
    """
    rate, holds = tried[-1]
    if not holds and tried.count((rate, holds)) < TRIES:
        return rate
    held = {rate for rate, holds in tried if holds}
    broken = min((rate for rate, holds in tried if not holds and rate not in held), default=None)
    below = max((rate for rate in held if broken is None or rate < broken), default=None)
    if broken is None:
        return round(below * factor)
    if below is None:
        lower = round(broken / factor)
        return lower if lower >= RATE_MIN else None
    return round(math.sqrt(below * broken)) if broken / below > factor**CLOSE else None


def step(bench, installation, service, mode, accepted, rate, seconds):
    """One rate on a campaign of its own, and whether it holds; what was accepted is noted for the campaign."""
    way, _ = MODES[mode]
    plan = bench.settings
    campaign = service.campaign(f"at {rate}/s")
    before = service.metrics()
    with watch(bench, service) as watched:
        told, child = load.open_load(
            bench,
            service,
            campaign,
            way=way,
            rate=rate,
            seconds=seconds,
            connections=plan.ramp_connections,
            warm=plan.ramp_warm_seconds,
        )
    installation.wait_until_published()
    published = observed(before, service.metrics(), PUBLISHED)
    accepted[campaign] = told["accepted"]
    told |= {"rate": rate, "costs": watched.costs(child, told["accepted"])}
    told["published"] = None if way == "sync" else published
    told["holds"] = told["share"] >= plan.knee_share_min and told["p99"] <= plan.knee_p99_ms
    bench.say(f"{rate}/s, {mode}: {text(told['share'] * 100)} % accepted, p99 {text(told['p99'])} ms")
    return told


def present(found, settings):
    yield Paragraph(
        "Three paths to the same row. **Async**: the request passes the gate, a group commit stores it, and the relay "
        "publishes it afterwards. **Async, one row a commit**: the same with batches of one row, which shows the effect "
        "of the group commit. **Sync**: one transaction for each request on the campaign's row, and Kafka's "
        "acknowledgement within the request. All three accept only durable participations."
    )
    for shape, title in (
        ("rush", f"{settings['rush_users']:,} users at the same moment for {settings['rush_units']:,} units"),
        (
            "crowd",
            f"{settings['crowd_users']:,} users at a time until {settings['crowd_units']:,} units are sold",
        ),
    ):
        yield from shown(found, shape, title)
    yield from ramps(found, settings)


def shown(found, shape, title):
    rows = [
        [
            mode,
            ranged(one["seconds"]),
            ranged(one["answers_per_second"]),
            *(ranged(one["answer"][name]) for name in ("p50", "p95", "p99", "max")),
            ranged(one["yes"]["p50"]),
            *(published(one, name) for name in ("p50", "p99")),
            ranged(one["busy"], 0),
            ranged(one["unsure"], 0),
            text(one["oversold"]["max"]),
        ]
        for mode, shapes in found.items()
        for one in [shapes[shape]]
    ]
    yield Table(
        title,
        [
            "",
            "seconds",
            "answers/s",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms",
            "accepted p50 ms",
            "published p50 ms",
            "published p99 ms",
            "503 BUSY",
            "no outcome",
            "oversold",
        ],
        rows,
        note="Medians of the rounds, with minimum and maximum. Latency is that of the final response; "
        "**published** is from the commit to Kafka's acknowledgement, from the relay's histogram; **503 BUSY** "
        "counts these responses, after which the user repeats the request; **no outcome** counts users "
        "without a final response within a minute.",
    )
    yield Plot(
        f"ways-{shape}",
        bars(
            list(("p50", "p95", "p99", "max")),
            [
                Series(mode, [middle(shapes[shape]["answer"][name]) for name in ("p50", "p95", "p99", "max")])
                for mode, shapes in found.items()
            ],
            y="ms",
            log=True,
        ),
        f"Latency of a final response: {title}. Logarithmic; lower is better.",
    )
    yield Table(
        "CPU and memory per response",
        ["", *(f"{part}: CPU ms" for part in PARTS), *(f"{part}: MiB" for part in PARTS[:-1])],
        [
            [
                mode,
                *(ranged(shapes[shape]["costs"].get(part, {}).get("cpu_ms_each")) for part in PARTS),
                *(ranged(shapes[shape]["costs"].get(part, {}).get("memory_mib")) for part in PARTS[:-1]),
            ]
            for mode, shapes in found.items()
        ],
        note="CPU time of each process during the load, divided by the responses; memory is the maximum resident "
        "size. The service is restarted for every path and round; the parts run for the whole report.",
    )


def published(one, name):
    """On the synchronous path an event is published before the response."""
    found = one.get("published", {}).get(name)
    return ranged(found) if found else "in the response"


def middle(found):
    return found.get("median") if found else None


def ramps(found, settings):
    yield Table(
        "Open load: the knee of each path",
        [
            "",
            "knee, offered/s",
            "maximum accepted/s",
            "p99 ms at the knee",
            f"p50 ms at {COMFORT:.0%} of it",
            f"p99 ms at {COMFORT:.0%} of it",
        ],
        [
            [
                mode,
                *(ranged(shapes["knee"][name], 0) for name in ("knee", "accepted")),
                *(ranged(shapes["knee"][name]) for name in ("p99", "comfort_p50", "comfort_p99")),
            ]
            for mode, shapes in found.items()
        ],
        note=f"Requests follow a fixed schedule that does not depend on responses, {settings['ramp_seconds']} s at each rate "
        f"({settings.get('comfort_seconds', settings['ramp_seconds'])} s at {COMFORT:.0%} of the knee) on a new "
        f"campaign, with latency not measured in the first {settings['ramp_warm_seconds']} s; each rate is "
        f"{settings['ramp_factor']} times the previous one, and closer near the knee. The **knee** is the highest rate of which at least "
        f"{settings['knee_share_min']:.0%} were accepted, with a p99 of at most {settings['knee_p99_ms']:.0f} ms from "
        f"the scheduled time, in one of {TRIES} attempts, because a short stall of the disk is no knee.",
    )
    at = found["async"]["beside"]
    yield Table(
        "At the synchronous path's own knee",
        ["offered/s", "sync: p99 ms", "async: p99 ms", "times lower"],
        [[ranged(at.get("rate"), 0), *(ranged(at.get(name)) for name in ("theirs", "ours", "ratio"))]],
        note="Both paths alternate at the knee of sync in the same round, one step directly after the other; the "
        f"medians of {text((at.get('ratio') or {}).get('rounds', 0))} pairs in which sync sustained the rate again.",
    )
    yield Plot(
        "ways-ramp-accepted",
        lines(
            [
                Series(mode, [(step["rate"], step["accepted_per_second"]) for step in furthest(shapes)])
                for mode, shapes in found.items()
            ],
            x="offered/s",
            y="accepted/s",
            log_x=True,
            log_y=True,
        ),
        "Accepted and offered rates. Where a line leaves the diagonal, the service does not sustain the rate.",
    )
    yield Plot(
        "ways-ramp-p99",
        lines(
            [
                Series(mode, [(step["rate"], step["p99"]) for step in furthest(shapes)])
                for mode, shapes in found.items()
            ],
            x="offered/s",
            y="p99 ms",
            log_x=True,
            log_y=True,
        ),
        "Latency at the 99th percentile, from the scheduled time of a request.",
    )
    rows = [
        [
            mode,
            text(step["rate"]),
            text(step["accepted_per_second"]),
            f"{step['share']:.1%}",
            *(text(step[name]) for name in ("p50", "p95", "p99", "max")),
            text((step["published"] or {}).get("p99")),
            *(text(step["costs"][part]["cpu_percent"], 0) for part in PARTS),
            "yes" if step["holds"] else "no",
        ]
        for mode, shapes in found.items()
        for step in furthest(shapes)
    ]
    yield Table(
        "Every step of one round",
        [
            "",
            "offered/s",
            "accepted/s",
            "accepted",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "max ms",
            "published p99 ms",
            *(f"{part} %" for part in PARTS),
            "holds",
        ],
        rows,
        folded=True,
    )


def furthest(shapes):
    """The steps of the round that got furthest."""
    return max(shapes["ramps"], key=lambda ramp: ramp["knee"] or 0)["steps"]
