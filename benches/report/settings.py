"""How much is measured: the full report, a quick look, and the short form that only looks for mistakes."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every field can be set from the command line: `--set ramp_seconds=10`, lists with commas."""

    form: str = "full"
    # How often each figure is measured; medians are reported, with the least and the most.
    rounds: int = 3
    # How long a load goes on whose length is not given by what it asks for.
    seconds: int = 6
    # Traffic before everything, at a rate: a broker that was just started compiles its own code for two minutes.
    break_in_seconds: int = 120
    break_in_rate: int = 2_000
    # Traffic before the first figure of a service that was just started.
    warm_seconds: int = 10
    connections: int = 256
    # No run takes longer, whatever hangs.
    minutes_max: int = 240

    # Experiment 1.
    rush_users: int = 1_000
    rush_units: int = 50
    crowd_users: int = 100
    crowd_units: int = 10_000
    ramp_first: int = 200
    ramp_factor: float = 1.5
    ramp_steps_max: int = 24
    # How long at each rate, and how much of that, from its beginning, latency is not looked at.
    ramp_seconds: int = 7
    ramp_warm_seconds: int = 1
    # Below the knee, for the latency that people are to expect.
    comfort_seconds: int = 20
    # At the synchronous path's knee, of both ways, in each round.
    knee_pairs: int = 3
    ramp_connections: int = 1_500
    # Beyond the knee one of these is broken.
    knee_share_min: float = 0.98
    knee_p99_ms: float = 500.0

    # Experiment 2.
    partition_rounds: int = 1
    partitions: tuple = (1, 2, 3, 6, 12)
    keys: tuple = ("participation", "user", "campaign")
    partition_campaigns: int = 4
    # Participations of each campaign; each is reserved and paid for, so it has two events.
    partition_users: int = 3_000
    partition_rate: int = 2_000

    # Experiment 3.
    days: int = 30
    day_rows: tuple = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
    day_campaigns: int = 50
    daily_asked: int = 20

    # Experiment 4.
    stage_rates: tuple = (50, 1_000)

    # Experiment 5.
    users_before: tuple = (0, 10_000, 100_000, 1_000_000)
    campaigns: tuple = (1, 10, 100, 1_000)
    replicas: tuple = (1, 2, 3)
    history_before: tuple = (0, 10_000, 100_000, 1_000_000)
    connections_open: tuple = (0, 1_000, 10_000)

    # Ceilings.
    # Those who ask for a yes: as many as the service lets wait, so that there is always somebody.
    limit_connections: int = 640
    limit_rows: int = 120_000
    # Of service and SQL, in each round.
    limit_pairs: int = 3
    limit_sessions: tuple = (1, 4, 8)
    limit_batches: tuple = (64, 256, 1_000)
    limit_admissions: int = 200_000
    limit_entrants: tuple = (1, 8, 64)
    limit_records: int = 500_000
    limit_drain: int = 100_000


QUICK = Settings(
    form="quick",
    rounds=1,
    seconds=3,
    break_in_seconds=30,
    warm_seconds=3,
    minutes_max=45,
    crowd_units=2_000,
    ramp_first=300,
    ramp_factor=2.0,
    ramp_steps_max=8,
    ramp_seconds=4,
    comfort_seconds=4,
    knee_pairs=1,
    partitions=(1, 3, 12),
    partition_users=2_000,
    day_rows=(1_000, 10_000, 100_000),
    daily_asked=5,
    stage_rates=(50, 400),
    users_before=(0, 10_000, 100_000),
    campaigns=(1, 10, 100),
    replicas=(1, 2),
    history_before=(0, 10_000, 100_000),
    connections_open=(0, 10_000),
    limit_rows=10_000,
    limit_pairs=1,
    limit_sessions=(1, 4),
    limit_batches=(64, 256),
    limit_admissions=50_000,
    limit_entrants=(1, 64),
    limit_records=100_000,
    limit_drain=10_000,
)

# Small enough for three minutes on a busy machine: what it finds are mistakes and not times.
SHORT = dataclasses.replace(
    QUICK,
    form="short",
    seconds=1,
    break_in_seconds=1,
    break_in_rate=50,
    warm_seconds=0,
    minutes_max=10,
    connections=32,
    rush_users=200,
    rush_units=20,
    crowd_users=20,
    crowd_units=200,
    ramp_first=50,
    ramp_steps_max=1,
    ramp_seconds=1,
    comfort_seconds=1,
    ramp_warm_seconds=0,
    ramp_connections=100,
    partitions=(3,),
    partition_campaigns=2,
    partition_users=100,
    partition_rate=100,
    days=2,
    day_rows=(1_000,),
    day_campaigns=10,
    daily_asked=2,
    stage_rates=(50,),
    users_before=(2_000,),
    campaigns=(10,),
    replicas=(2,),
    history_before=(2_000,),
    connections_open=(500,),
    limit_connections=32,
    limit_rows=2_000,
    limit_sessions=(1, 2),
    limit_batches=(64,),
    limit_admissions=5_000,
    limit_entrants=(1, 8),
    limit_records=5_000,
    limit_drain=1_000,
)

FORMS = {"full": Settings(), "quick": QUICK, "short": SHORT}


def choose(form, changes):
    """The settings of a form with `name=value` changes; a ValueError names what cannot be."""
    settings = FORMS[form]
    kinds = {field.name: type(getattr(settings, field.name)) for field in dataclasses.fields(settings)}
    changed = {}
    for change in changes:
        name, found, value = change.partition("=")
        if not found or name not in kinds or name == "form":
            raise ValueError(f"there is no setting {name!r}; there are {', '.join(sorted(kinds))}")
        changed[name] = parse(kinds[name], getattr(settings, name), value)
    return dataclasses.replace(settings, **changed)


def parse(kind, sample, value):
    if kind is tuple:
        one = type(sample[0]) if sample else int
        return tuple(one(part.replace("_", "")) if one is int else part for part in value.split(","))
    return kind(value.replace("_", "")) if kind is int else kind(value)
