"""Experiment 5: what one more participation costs as there is more of everything: users of the campaign,
campaigns, replicas, history, connections."""

import concurrent.futures
import contextlib
import socket
import time

from . import filling, load
from .checks import examine
from .figures import ranged, spreads, text
from .pages import Paragraph, Plot, Table
from .plots import Series, lines
from .processes import Failed, Watch, resident_mib
from .service import Installation

# What only some of them have, as measured in their first round.
MORE = {
    "users": {"rebuild_seconds": "gate rebuilt in, s", "redis_mib": "Redis, MiB"},
    "connections": {"idle_mib": "service before the load, MiB", "busy_mib": "service under load, MiB"},
}
LONG_AGO = 1_760_000_000


def measure(bench):
    plan = bench.settings
    kinds = {
        "users": (plan.users_before, users),
        "campaigns": (plan.campaigns, campaigns),
        "replicas": (plan.replicas, replicas),
        "history": (plan.history_before, history),
        "connections": (plan.connections_open, connections),
    }
    return {name: [of(bench, name, size, once) for size in sizes] for name, (sizes, once) in kinds.items()}


def of(bench, name, size, once):
    """The rounds of one size, on one installation."""
    bench.in_time()
    found = {"size": size, **spreads(once(bench, size))}
    bench.say(
        f"{name} {size:,}: {text(found['accepted_per_second']['median'])} accepted/s, "
        f"p99 {text(found['p99']['median'])} ms"
    )
    return found


def closed(bench, service, campaign, accepted):
    """As many as are answered, by our own generator; what was told yes is added up by campaign."""
    told, _ = load.open_load(bench, service, campaign)
    accepted[campaign] = accepted.get(campaign, 0) + told["accepted"]
    return {name: told[name] for name in ("accepted_per_second", "p50", "p99")}


def users(bench, size):
    """One campaign in which so many take part already."""
    # A rebuild is answered when it is done, and with a million users that may take longer than a request may.
    with Installation(bench, f"users_{size}", FIRSTCOME_HTTP_REQUEST_TIMEOUT="10m") as installation:
        installation.command("migrate")
        filling.campaigns(installation, 1)
        if size:
            filling.participations(installation, size, campaign=1, of=1, user=1, start=LONG_AGO, events=True)
            filling.count(installation)
        service = installation.start()
        service.wait_until_ready()
        began = time.monotonic()
        service.admin("POST", "/campaigns/1/rebuild-gate")
        rebuilt = time.monotonic() - began
        load.open_load(bench, service, 1, seconds=1)
        accepted = {}
        rounds = [closed(bench, service, 1, accepted) for _ in range(bench.settings.rounds)]
        rounds[0]["rebuild_seconds"] = rebuilt
        memory = int(bench.parts.redis.info("memory")["used_memory"]) / 1024 / 1024
        rounds[0]["redis_mib"] = memory
        examine(bench, installation, [1], where=f"{size} users before")
    return rounds


def campaigns(bench, size):
    """So many campaigns, asked for in turn."""
    with Installation(bench, f"campaigns_{size}") as installation:
        installation.command("migrate")
        filling.campaigns(installation, size)
        service = installation.start()
        service.wait_until_ready()
        rounds = []
        for number in range(bench.settings.rounds + 1):
            seconds = bench.settings.seconds
            before, first = total(installation), load.users_for(bench, seconds)
            began = time.monotonic()
            arguments = [1, size, "participation", first]
            told, _ = load.wrk(bench, service.base, "benches/campaigns.lua", arguments, seconds=seconds)
            took = time.monotonic() - began
            installation.wait_until_published()
            # The first round rebuilds gates and is not counted.
            if number:
                made = total(installation) - before
                rounds.append({"accepted_per_second": made / took, "p50": told["p50"], "p99": told["p99"]})
        examine(bench, installation, [1, size], where=f"{size} campaigns")
    return rounds


def total(installation):
    return installation.number("SELECT COUNT(*) FROM participation")


def replicas(bench, size):
    """So many processes on the same parts, each with its share of the connections."""
    plan = bench.settings
    with Installation(bench, f"replicas_{size}") as installation:
        services = [installation.start() for _ in range(size)]
        campaign = services[0].campaign("replicas")
        load.open_load(bench, services[0], campaign, seconds=max(1, plan.warm_seconds // 2))
        each, rounds, accepted = max(1, plan.connections // size), [], 0
        for _ in range(plan.rounds):
            firsts = [load.users_for(bench, plan.seconds) for _ in services]

            def ask(pair):
                return load.open_load(bench, pair[0], campaign, connections=each, first=pair[1])[0]

            with concurrent.futures.ThreadPoolExecutor(size) as pool:
                told = list(pool.map(ask, zip(services, firsts)))
            accepted += sum(one["accepted"] for one in told)
            rounds.append(
                {
                    "accepted_per_second": sum(one["accepted_per_second"] for one in told),
                    "p50": max(one["p50"] for one in told),
                    "p99": max(one["p99"] for one in told),
                }
            )
        examine(bench, installation, [campaign], where=f"{size} replicas", accepted={campaign: accepted})
    return rounds


def history(bench, size):
    """So many participations of campaigns that are over, and a new campaign beside them."""
    with Installation(bench, f"history_{size}") as installation:
        installation.command("migrate")
        filling.campaigns(installation, 10)
        if size:
            filling.participations(installation, size, campaign=1, of=10, user=1, start=LONG_AGO, events=True)
            filling.count(installation)
        service = installation.start()
        campaign = service.campaign("new")
        load.open_load(bench, service, campaign, seconds=max(1, bench.settings.warm_seconds // 2))
        accepted = {}
        rounds = [closed(bench, service, campaign, accepted) for _ in range(bench.settings.rounds)]
        examine(bench, installation, [campaign], where=f"{size} rows of history", accepted=accepted)
    return rounds


def connections(bench, size):
    """So many connections that have asked once and ask nothing, and the load beside them."""
    room = {"FIRSTCOME_HTTP_CONNECTIONS_MAX": str(size + 2 * bench.settings.connections)}
    with Installation(bench, f"connections_{size}", **room) as installation:
        service = installation.start()
        campaign = service.campaign("connections")
        with contextlib.ExitStack() as held:
            for _ in range(size):
                hold(service, held)
            idle = resident_mib(service.pid)
            accepted = {}
            with Watch({"service": [service.pid]}) as watched:
                rounds = [closed(bench, service, campaign, accepted) for _ in range(bench.settings.rounds)]
            rounds[0]["idle_mib"] = idle
            rounds[0]["busy_mib"] = watched.memory["service"]
        examine(bench, installation, [campaign], where=f"{size} connections", accepted=accepted)
    return rounds


def hold(service, held):
    """A connection that is answered, and stays."""
    connection = held.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=10))
    connection.sendall(b"GET /livez HTTP/1.1\r\nhost: report\r\n\r\n")
    if b" 200 " not in connection.recv(4_096):
        raise Failed("a connection that was to be held was not answered")


TITLES = {
    "users": ("Existing participants of the campaign", "users"),
    "campaigns": ("Campaigns in rotation", "campaigns"),
    "replicas": ("Replicas", "replicas"),
    "history": ("Participations of campaigns that are over", "rows"),
    "connections": ("Idle connections", "connections"),
}


def present(found, settings):
    yield Paragraph(
        f"A closed load of {settings['connections']} connections, each request with another user, on an installation that is "
        "filled beforehand. A flat line means that the cost does not grow. Replicas share the machine with "
        "the parts and the load, so their figures show the cost of sharing, and not the gain of another machine."
    )
    for kind, rows in found.items():
        title, word = TITLES[kind]
        more = MORE.get(kind, {})
        yield Table(
            title,
            [word, "accepted/s", "p50 ms", "p99 ms", *more.values()],
            [
                [
                    text(row["size"]),
                    ranged(row["accepted_per_second"], 0),
                    ranged(row["p50"]),
                    ranged(row["p99"]),
                    *(ranged(row[name]) for name in more),
                ]
                for row in rows
            ],
        )
        # Nothing is a size, too, and a logarithm has no place for it.
        yield Plot(
            f"growth-{kind}",
            lines(
                [
                    Series(
                        "accepted/s",
                        [(max(row["size"], 1), row["accepted_per_second"]["median"]) for row in rows],
                    )
                ],
                x=word,
                y="accepted/s",
                log_x=kind != "replicas",
            ),
            f"Accepted per second by {title[0].lower()}{title[1:]}"
            + (" (1 stands for none)." if rows and rows[0]["size"] == 0 else "."),
        )
