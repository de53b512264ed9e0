"""Experiment 3: what days came to, from the rows and from what was kept of them, for more and more rows."""

import datetime
import time

from . import filling
from .figures import quantile, ranged, spread, text
from .pages import Paragraph, Plot, Table
from .plots import Series, lines
from .processes import Failed
from .service import Installation

RUN_SECONDS_MAX = 1_200


def measure(bench):
    return [size(bench, rows) for rows in bench.settings.day_rows]


def size(bench, rows):
    """Raw and kept answers for all days of one size."""
    plan = bench.settings
    bench.in_time()
    today = int(time.time()) // filling.DAY * filling.DAY
    starts = [today - filling.DAY * back for back in range(plan.days, 0, -1)]
    dates = [
        datetime.datetime.fromtimestamp(start, datetime.timezone.utc).date().isoformat() for start in starts
    ]
    with Installation(bench, f"days_{rows}", FIRSTCOME_HTTP_REQUEST_TIMEOUT="10m") as installation:
        installation.command("migrate")
        filling.campaigns(installation, plan.day_campaigns)
        filled = fill(bench, installation, starts, rows)
        service = installation.start()
        began = time.monotonic()
        for date in dates:
            aggregate(service, date)
        aggregated = time.monotonic() - began
        raw, daily, kept = [], [], []
        for _ in range(plan.rounds):
            answers = [service.admin("GET", f"/stats/raw?date={date}") for date in dates]
            raw.append(sum(answer["queryTimeMs"] for answer in answers))
        for _ in range(plan.daily_asked):
            kept = [service.admin("GET", f"/stats/daily?date={date}") for date in dates]
            daily.append(sum(answer["queryTimeMs"] for answer in kept))
        agree(bench, rows, answers, kept)
    found = {
        "rows": filled,
        "days": plan.days,
        "aggregated_seconds": aggregated,
        "raw_ms": spread(raw),
        "daily_ms": spread(daily),
        "daily_p99_ms": quantile(daily, 0.99),
    }
    found["ratio"] = found["raw_ms"]["median"] / max(found["daily_ms"]["median"], 0.001)
    bench.say(
        f"{filled:,} rows: raw {text(found['raw_ms']['median'])} ms, kept {text(found['daily_ms']['median'])} ms"
    )
    return found


def fill(bench, installation, starts, rows):
    """Shares them among the days; returns how many there are."""
    each, more = divmod(rows, len(starts))
    user, rank = 1, 0
    for nth, start in enumerate(starts):
        count = each + (nth < more)
        filling.participations(
            installation,
            count,
            campaign=1,
            of=bench.settings.day_campaigns,
            user=user,
            start=start,
            rank=rank,
        )
        user, rank = user + count, rank + count
    filling.count(installation)
    return installation.number("SELECT COUNT(*) FROM participation")


def aggregate(service, date):
    run = service.admin("POST", f"/batch/aggregate?date={date}")["jobExecutionId"]
    deadline = time.monotonic() + RUN_SECONDS_MAX
    while True:
        told = service.admin("GET", f"/batch/status/{run}")
        if told["status"] == "COMPLETED":
            return
        if told["status"] != "STARTED" or time.monotonic() > deadline:
            raise Failed(f"aggregating {date} came to {told}")
        time.sleep(0.01)


def agree(bench, rows, raw, kept):
    """Both answers have to say the same of every day, and together all rows."""
    total = 0
    for one, other in zip(raw, kept):
        total += one["summary"]["successCount"]
        if (one["summary"], one["campaigns"]) != (other["summary"], other["campaigns"]):
            bench.breach(f"{rows} rows, {one['date']}: raw and aggregated do not agree")
    if total != rows:
        bench.breach(f"{rows} rows: the days come to {total}")


def present(found, settings):
    yield Paragraph(
        f"Participations of {settings['day_campaigns']} campaigns over {settings['days']} days, queried day by day: "
        "**raw** reads the rows (`/api/admin/stats/raw`), **aggregated** reads the daily aggregate "
        "(`/stats/daily`). The figures are the sums of `queryTimeMs` of all days. Both results are compared, day by "
        "day and campaign by campaign; a difference fails the run."
    )
    days = settings["days"]
    yield Table(
        f"{days} days",
        ["rows", "raw, ms", "aggregated, ms", "aggregated p99, ms", "times faster", f"aggregation of {days} days, s"],
        [
            [
                text(one["rows"]),
                ranged(one["raw_ms"]),
                ranged(one["daily_ms"]),
                text(one["daily_p99_ms"]),
                text(one["ratio"], 0),
                text(one["aggregated_seconds"]),
            ]
            for one in found
        ],
    )
    yield Plot(
        "days",
        lines(
            [
                Series("raw", [(one["rows"], one["raw_ms"]["median"]) for one in found]),
                Series("aggregated", [(one["rows"], one["daily_ms"]["median"]) for one in found]),
            ],
            x="rows",
            y="ms for all days",
            log_x=True,
            log_y=True,
        ),
        f"Query time for {days} days. Both scales are logarithmic.",
    )
