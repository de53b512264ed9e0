"""What the same machine can do at most, stage by stage, beside what the service does in the same run.

Ceilings and service take turns, round by round, so that a slow moment of the machine hits both.
"""

import time

from . import filling, load
from .ceilings import Plain, admission, best_of_one_session, producer, sql, sql_beside
from .checks import examine
from .figures import ranged, spread, spreads, text
from .pages import Paragraph, Plot, Table
from .partitions import drained as drain
from .plots import flat_bars
from .service import Installation

# How many campaigns are asked for together: a campaign has one batcher, and there are four.
CAMPAIGNS = 8


def measure(bench):
    rounds = []
    with Plain(bench) as plain:
        for number in range(bench.settings.rounds):
            bench.in_time()
            one = {"plain": plain.measure(), **service(bench, number)}
            one["admission"] = admission(bench, number)
            one["sql"] = sql(bench, number)
            way = best_of_one_session(bench, one["sql"]["published"])
            one["pairs"] = [pair(bench, f"{number}_{nth}", way) for nth in range(bench.settings.limit_pairs)]
            one["producer"] = producer(bench, number)
            rounds.append(one)
            bench.say(
                f"ceilings: plain {text(one['plain']['per_second'])}/s, "
                f"admission {text(max(one['admission'].values()))}/s, "
                f"SQL {text(max(one['sql']['published'].values()))} rows/s, "
                f"broker {text(max(one['producer'].values()))} records/s; service {text(one['accepted'])} accepted/s; "
                f"of SQL in pairs {', '.join(text(each['fraction']) for each in one['pairs'])}"
            )
    return summed(rounds)


def summed(rounds):
    """Medians, and of what was tried in several ways all of them."""

    def all_of(pick):
        names = dict.fromkeys(name for one in rounds for name in pick(one))
        return {name: spread([pick(one).get(name) for one in rounds]) for name in names}

    return {
        "plain": spread([one["plain"]["per_second"] for one in rounds]),
        **{
            name: spread([one[name] for one in rounds])
            for name in ("accepted", "generator", "queries", "scripts")
        },
        "accepted_many": spread([one["accepted_many"] for one in rounds]),
        "refused": spread([one["refused"] for one in rounds]),
        "drained": spread([one["drained"] for one in rounds]),
        "admission": all_of(lambda one: one["admission"]),
        "sql": all_of(lambda one: one["sql"]["pending"]),
        "sql_published": all_of(lambda one: one["sql"]["published"]),
        "pairs": spreads([each for one in rounds for each in one["pairs"]]),
        "producer": all_of(lambda one: one["producer"]),
    }


def service(bench, number):
    """What the service does: yes, no, and publishing a backlog."""
    with Installation(bench, f"limits_{number}") as installation:
        process = installation.start()
        gone = process.campaign("gone", totalStock=1)
        many = [process.campaign(f"limits {nth}") for nth in range(CAMPAIGNS)]
        campaign, one = sold_warm(bench, installation, process)
        together = sold(bench, installation, lambda: ask_many(bench, process, many))
        ask(bench, process, gone, 1)
        refused = ask(bench, process, gone, bench.settings.seconds)[0]["per_second"]
        examine(bench, installation, [campaign, gone, *many], where=f"limits, round {number + 1}")
        process.stop()
    return {
        **one,
        "accepted_many": together["accepted"],
        "refused": refused,
        "drained": drained(bench, number),
    }


def pair(bench, name, way):
    """Yes for one campaign, and right after it the same rows by SQL with the load's share of a core taken.

    A machine's disk and clock move by a half within minutes: what is compared lies seconds apart.
    """
    with Installation(bench, f"pair_{name}") as installation:
        process = installation.start()
        campaign, one = sold_warm(bench, installation, process)
        examine(bench, installation, [campaign], where=f"limits, pair {name}")
        process.stop()
    beside = sql_beside(bench, name, way, one["generator"])
    return {"accepted": one["accepted"], "sql": beside, "fraction": one["accepted"] / beside}


def sold_warm(bench, installation, process):
    """A campaign asked for by as many as the service lets wait, once the process is warm; and what was sold."""
    plan = bench.settings
    warm, campaign = (process.campaign(name) for name in ("warm", "limits"))
    ask(bench, process, warm, max(1, plan.warm_seconds))
    return campaign, sold(
        bench,
        installation,
        lambda: ask(bench, process, campaign, plan.seconds, connections=plan.limit_connections),
    )


def sold(bench, installation, load_it):
    """What is committed a second while a load goes on, how much of a core its generator takes, and what is asked.

    The generator itself does not tell a yes from a no.
    """
    installation.wait_until_published()
    before, began = counted(bench, installation), time.monotonic()
    _, child = load_it()
    took = time.monotonic() - began
    rows, queries, scripts = (
        now - then for now, then in zip(counted(bench, installation), before, strict=True)
    )
    return {
        "accepted": rows / took,
        "generator": child.cpu_seconds / took,
        "queries": queries / rows if rows else None,
        "scripts": scripts / rows if rows else None,
    }


def counted(bench, installation):
    """Participations of an installation, and the statements and calls of scripts of everybody."""
    return (
        installation.number("SELECT COUNT(*) FROM participation"),
        installation.number(
            "SELECT VARIABLE_VALUE FROM performance_schema.global_status WHERE VARIABLE_NAME = 'Questions'"
        ),
        sum(bench.parts.redis.calls(command)[0] for command in ("evalsha", "eval")),
    )


def ask_many(bench, process, campaigns):
    """Several campaigns in turn; their ids follow each other."""
    arguments = [campaigns[0], len(campaigns), "participation", load.users_for(bench, bench.settings.seconds)]
    connections = bench.settings.limit_connections
    return load.wrk(bench, process.base, "benches/campaigns.lua", arguments, connections=connections)


def ask(bench, process, campaign, seconds, connections=None):
    path = f"/api/campaigns/{campaign}/participation"
    arguments = [path, load.users_for(bench, seconds)]
    script = "benches/participate.lua"
    return load.wrk(bench, process.base, script, arguments, seconds=seconds, connections=connections)


def drained(bench, number):
    """How many events a second a relay publishes of a backlog, nothing else going on."""
    count = bench.settings.limit_drain
    with Installation(bench, f"drain_{number}") as installation:
        installation.command("migrate")
        filling.campaigns(installation, 1)
        filling.participations(
            installation,
            count,
            campaign=1,
            of=1,
            user=1,
            start=int(time.time()) - 60,
            seconds=60,
            events=True,
        )
        filling.count(installation, published=False)
        relay = installation.start("relay")
        return drain(
            relay, lambda: relay.metrics().total("firstcome_relay_publish_total", result="ok"), count
        )


def best(found, of=""):
    """The way with the highest median, of those whose names begin so."""
    known = {name: one for name, one in found.items() if one["median"] is not None and name.startswith(of)}
    name = max(known, key=lambda name: known[name]["median"])
    return name, known[name]


def relayed(found):
    """SQL with what a relay writes. Figures that were measured before the outbox was a log have another name."""
    return found.get("sql_published") or found["sql_deleted"]


def fractions(found):
    """What the service does, its ceiling, how that was had, and the fraction."""
    one, many = found["accepted"], found["accepted_many"]
    plain = ("wrk, the same connections", found["plain"])
    stages = [
        ("accepted, one campaign; the framework's plain JSON POST", one, plain),
        (f"accepted, {CAMPAIGNS} campaigns; the same", many, plain),
        ("rejected after the sell-out; the same", found["refused"], plain),
        ("accepted, one campaign; admissions by redis-benchmark", one, best(found["admission"])),
        (
            "accepted, one campaign; the same rows by SQL in one session",
            one,
            best(relayed(found), "1 session,"),
        ),
        (f"accepted, {CAMPAIGNS} campaigns; the same rows by SQL", many, best(relayed(found))),
        (f"accepted, {CAMPAIGNS} campaigns; the same without the positions", many, best(found["sql"])),
        (
            "published, from a backlog; the broker's producer benchmark",
            found["drained"],
            best(found["producer"]),
        ),
    ]
    pairs = found["pairs"]
    return [
        (name, does, ceiling, way, does["median"] / ceiling["median"] if does["median"] else None)
        for name, does, (way, ceiling) in stages
    ] + [
        (
            "accepted, one campaign; that SQL in pairs, beside a process with the CPU use of the load generator",
            pairs["accepted"],
            pairs["sql"],
            "the best with one session in each round",
            pairs["fraction"]["median"],
        )
    ]


def present(found, settings):
    yield Paragraph(
        "Each ceiling is the rate of a program that does only one stage, on the same machine, alternating "
        "with the service. The service runs all stages at once, with the parts and the load on the same cores: the "
        "fractions show which stage has reserves, and cannot all be near one."
    )
    all_stages = fractions(found)
    yield Table(
        "Each stage as a fraction of its ceiling",
        ["stage; its ceiling", "service, /s", "ceiling, /s", "fraction", "best variant of the ceiling"],
        [
            [name, ranged(does, 0), ranged(ceiling, 0), text(share, 2), way]
            for name, does, ceiling, way, share in all_stages
        ],
        note="**Accepted** includes everything: HTTP, admission, commit, and a relay that publishes and writes "
        "positions. So the fair ceiling of SQL is the one **with the positions**, one statement after each batch, "
        "which is more often than the relay writes them; the one without is the limit of the writer alone. In SQL each "
        "session has a campaign of its own, because a campaign's row allows one commit at a time. The load generator "
        f"took {ranged(found['generator'], 2)} of a core. In **pairs** the service and SQL run within seconds of each "
        f"other, and the fraction is the median of {found['pairs']['fraction']['rounds']} pairs: "
        f"{ranged(found['pairs']['fraction'], 2)}. The relay "
        "publishes keys and ten headers with the value, reads the events from MySQL and writes the position; the "
        "broker's benchmark writes values from memory.",
    )
    yield Table(
        "Calls of the parts per accepted participation",
        ["", "per participation"],
        [
            ["statements to MySQL, including the relay's", ranged(found["queries"], 3)],
            ["script calls in Redis", ranged(found["scripts"], 3)],
        ],
        note="From the parts' own counters, with a closed load on one campaign.",
    )
    yield Plot(
        "limits",
        flat_bars([name for name, *_ in all_stages], [share for *_, share in all_stages], x="of the ceiling"),
        "The service as a fraction of each ceiling.",
    )
    for title, ways, word in (
        ("Admissions by redis-benchmark, the real script, 50 connections", found["admission"], "admissions/s"),
        ("Rows by SQL, with what a relay writes", relayed(found), "rows/s"),
        ("Rows by SQL, without what a relay writes", found["sql"], "rows/s"),
        ("Records by the broker's producer benchmark, acks=all, idempotent", found["producer"], "records/s"),
    ):
        yield Table(
            title, ["variant", word], [[way, ranged(one, 0)] for way, one in ways.items()], folded=True
        )
