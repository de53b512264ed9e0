"""Experiment 2: partitions and keys against throughput and order.

For each number of partitions and each choice of key the same events: participations of several campaigns by
the same users, each reserved and then paid for, so that a key has more than one event whichever it is. Half
of the campaigns are sold with a relay that publishes meanwhile: that is the order consumers see every day.
The others are sold with no relay running; then one publishes them, and then a consumer applies all of it:
that is throughput, and the order after an outage.
"""

import time

from . import load
from .checks import examine
from .figures import ranged, spreads, text
from .order import Order
from .pages import Paragraph, Plot, Table
from .plots import Series, bars
from .processes import Failed
from .service import Installation

# Asking costs time, too.
LOOK_SECONDS = 0.1
DRAIN_SECONDS_MAX = 900
BEYOND = ("--topic", "--rewards")


def measure(bench):
    plan, found = bench.settings, []
    for key in plan.keys:
        for partitions in plan.partitions:
            rounds = []
            for number in range(plan.partition_rounds):
                bench.in_time()
                rounds.append(once(bench, key, partitions, number))
            found.append({"key": key, "partitions": partitions, **spreads(rounds)})
            last = rounds[-1]
            bench.say(
                f"{partitions} partitions by {key}: {text(last['published_per_second'])} published/s, "
                f"{text(last['consumed_per_second'])} consumed/s"
            )
    return found


def once(bench, key, partitions, number):
    where = f"{partitions} partitions by {key}, round {number + 1}"
    settings = {"FIRSTCOME_KAFKA_KEY": key, "FIRSTCOME_KAFKA_PARTITIONS": str(partitions)}
    half = max(1, bench.settings.partition_campaigns // 2)
    with Installation(bench, f"key_{key}_{partitions}_{number}", **settings) as installation:
        live = sell(bench, installation, half)
        backlog = sell(bench, installation, half, FIRSTCOME_RELAY_ENABLED="false")
        due = installation.pending()
        relay = installation.start("relay")
        published = drained(
            relay, lambda: relay.metrics().total("firstcome_relay_publish_total", result="ok"), due
        )
        installation.wait_until_published()
        violations = relay.metrics().total("firstcome_relay_order_violations_total")
        relay.stop()
        if violations:
            bench.breach(f"{where}: the relay sent {violations:.0f} events out of order")
        events = installation.number(
            "SELECT COUNT(*) FROM outbox_event WHERE aggregatetype = 'participation'"
        )
        consumed = consume(bench, installation, events)
        verdict = examine(bench, installation, live + backlog, where=where, beyond=BEYOND)
        orders = seen(bench, installation, live)
        arrivals = analysed(installation, live)
    for order in orders.values():
        if order["by_participation"]:
            bench.breach(
                f"{where}: {order['by_participation']} changes came after a later one of their participation"
            )
    if sum(order["events"] for order in orders.values()) != events:
        bench.breach(f"{where}: {events} events were made, and not as many are in the topic")
    return {
        "events": events,
        "published_per_second": published,
        "consumed_per_second": consumed,
        "arrival_violations": arrivals,
        "clean": int(verdict["verify"] == "clean"),
        **orders,
    }


def seen(bench, installation, live):
    """The order of the records, of the campaigns that were sold live and of the others."""
    orders = {"live": Order(), "backlog": Order()}
    for partition, key, headers in bench.parts.records(installation.topic):
        orders["live" if headers["campaign"] in live else "backlog"].take(partition, key, headers)
    return {name: order.summary() for name, order in orders.items()}


def sell(bench, installation, count, **settings):
    """So many campaigns, the same users in each, and each of them pays. Returns the campaigns."""
    plan = bench.settings
    service = installation.start(**settings)
    campaigns = [
        service.campaign(f"campaign {nth}", price=500, holdSeconds=3600, reward={"points": 100})
        for nth in range(count)
    ]
    first = bench.users.take(plan.partition_users)
    # An open load takes whole seconds, and its last request may be due a moment too late.
    seconds = max(1, round(plan.partition_users / plan.partition_rate))
    for campaign in campaigns:
        load.open_load(
            bench, service, campaign, rate=plan.partition_rate, seconds=seconds, connections=200, first=first
        )
    ids = bench.work / "ids"
    listed = ",".join(map(str, campaigns))
    rows = installation.sql(
        f"SELECT BIN_TO_UUID(id) FROM participation WHERE campaign_id IN ({listed}) ORDER BY campaign_id, `rank`"
    )
    ids.write_text("".join(f"{row[0]}\n" for row in rows))
    # Those who have not paid when the time is over have one event less.
    seconds = max(1, len(rows) // 1_000)
    load.wrk(bench, service.base, "benches/orders.lua", [ids, "confirm"], seconds=seconds, connections=64)
    if not settings:
        installation.wait_until_published(DRAIN_SECONDS_MAX)
    service.stop()
    return campaigns


def drained(process, counted, due):
    """How many a second, from the first look that finds some done to the last; None when one look saw all."""
    first = last = None
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    while True:
        done, now = counted() or 0, time.monotonic()
        if done and first is None:
            first = (done, now)
        if last is None or done > last[0]:
            last = (done, now)
        if done >= due:
            break
        if now > deadline:
            raise Failed(f"{done:.0f} of {due} within {DRAIN_SECONDS_MAX} s\n{process.child.tail()}")
        time.sleep(LOOK_SECONDS)
    return (last[0] - first[0]) / (last[1] - first[1]) if last[1] > first[1] else None


def consume(bench, installation, events):
    """How many events a second the points consumer applies from a backlog."""
    bench.groups.append(f"{installation.name}.points")
    consumer = installation.start("consume", FIRSTCOME_CONSUMERS_ENABLED="points")
    rate = drained(consumer, lambda: consumer.metrics().total("firstcome_consumer_records_total"), events)
    consumer.stop()
    return rate


def analysed(installation, campaigns):
    """Participations processed before somebody who had arrived earlier, as the service itself counts them."""
    service = installation.start()
    count = 0
    for campaign in campaigns:
        cursor = ""
        while cursor is not None:
            told = service.admin("GET", f"/stats/order-analysis/{campaign}?limit=1{cursor}")
            count += told["arrivalViolations"]
            following = told.get("nextCursor")
            cursor = None if following is None else f"&cursor={following}"
    return count


def present(found, settings):
    half = max(1, settings["partition_campaigns"] // 2)
    yield Paragraph(
        f"Campaigns of {settings['partition_users']:,} users each: {half} sold **live**, with a running relay, "
        f"and {half} sold without a relay; then one relay publishes that **backlog**, and one consumer "
        "(`points`) applies everything. Every participation is reserved and then paid for: "
        "two events. The guarantee is that the changes of a participation are in order, with every key; a violation "
        "fails the run. The other columns show the additional order of each key and number of partitions."
    )
    yield Table(
        "Throughput",
        [
            "key",
            "partitions",
            "events",
            "published/s",
            "consumed/s",
            "busiest partition",
            "redelivered",
            "verify",
        ],
        [
            [
                one["key"],
                text(one["partitions"]),
                ranged(one["events"], 0),
                ranged(one["published_per_second"], 0),
                ranged(one["consumed_per_second"], 0),
                share(one["backlog"]["busiest_share"]),
                ranged(one["live"]["redelivered"], 0),
                "clean" if one["clean"]["min"] else "breached",
            ]
            for one in found
        ],
        note="**Published** is the rate of the backlog without other load; **consumed** is the rate of all events. A dash: "
        "too fast for two samples.",
    )
    yield Table(
        "Order: events that follow a later one",
        [
            "key",
            "partitions",
            *(f"{name}: {word}" for name in ("live", "backlog") for word in ORDERS.values()),
            "arrival violations",
        ],
        [
            [
                one["key"],
                text(one["partitions"]),
                *(ranged(one[name][field], 0) for name in ("live", "backlog") for field in ORDERS),
                ranged(one["arrival_violations"], 0),
            ]
            for one in found
        ],
        note="**Of a participation** is guaranteed. **Of a key** compares the ids of a campaign's events, which "
        "ascend with the time. **By rank** counts first events that follow one of a later arrival of the same "
        "campaign: within "
        "each partition, and as received by one consumer of all partitions. A backlog is read stream by stream, "
        "and many keys are in flight at once, so only its keys are in order. "
        "The last column is the result of `/api/admin/stats/order-analysis` for the live "
        "campaigns, before Kafka. Every record contains the rank, so the order of arrival remains provable.",
    )
    yield from plots(found)


# By field: what it counts.
ORDERS = {
    "by_participation": "of a participation",
    "by_key": "of a key",
    "rank_in_partition": "by rank, in a partition",
    "rank_overall": "by rank, as received",
}


def share(found):
    return "–" if found["median"] is None else f"{found['median']:.0%}"


def plots(found):
    names = sorted({one["partitions"] for one in found})
    keys = list(dict.fromkeys(one["key"] for one in found))
    for field, title, pick in (
        ("published", "Published per second, from a backlog,", lambda one: one["published_per_second"]),
        ("consumed", "Consumed per second", lambda one: one["consumed_per_second"]),
        (
            "order",
            "Arrivals out of order, live, as received by one consumer,",
            lambda one: one["live"]["rank_overall"],
        ),
    ):
        values = {(one["key"], one["partitions"]): pick(one)["median"] for one in found}
        yield Plot(
            f"partitions-{field}",
            bars(
                [text(name) for name in names],
                [Series(f"key: {key}", [values.get((key, name)) for name in names]) for key in keys],
                x="partitions",
                y="events" if field == "order" else "events/s",
            ),
            f"{title} by number of partitions and key.",
        )
