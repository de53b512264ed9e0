"""The command line: measures, writes the report, and fails on a broken promise and never on a time."""

import argparse
import dataclasses
import pathlib
import random
import signal
import sys
import time
import traceback

from . import document, limits, load, machine, origin
from .bench import Bench, binaries
from .processes import Failed
from .service import Installation
from .settings import choose


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/compare or scripts/limits", description=__doc__)
    parser.add_argument("what", choices=["compare", "limits"])
    parser.add_argument("--quick", action="store_true", help="less of everything, one round: half an hour")
    parser.add_argument(
        "--short", action="store_true", help="tiny sizes: three minutes, for mistakes and not for times"
    )
    parser.add_argument(
        "--only", metavar="NAMES", help=f"experiments, with commas: {','.join(document.EXPERIMENTS)}"
    )
    parser.add_argument(
        "--add", action="store_true", help="keep the figures of the other experiments that are there"
    )
    parser.add_argument("--rounds", type=int, help="how often each figure is measured")
    parser.add_argument("--seconds", type=int, help="how long each load goes on")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting; see settings.py"
    )
    parser.add_argument("--seed", type=int, help="of users, waits and rows; by the clock unless given")
    parser.add_argument(
        "--out", type=pathlib.Path, default=pathlib.Path("docs/report"), help="folder of the report"
    )
    parser.add_argument(
        "--render", action="store_true", help="only make the pages again from the figures there"
    )
    parser.add_argument(
        "--any-tree",
        action="store_true",
        help="measure although the tree or the service is not that of the commit; the report says so",
    )
    parser.add_argument(
        "--check", action="store_true", help="only check the options and the tree, before anything is built"
    )
    return parser.parse_args()


def experiments(what, only):
    """What is to be measured, by name."""
    if what == "limits":
        return {"limits": limits}
    known = {name: module for name, (_, module) in document.EXPERIMENTS.items()}
    names = only.split(",") if only else list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no experiment {', '.join(unknown)}; there are {', '.join(known)}")
    return {name: known[name] for name in names}


def main():
    given = arguments()
    if given.render:
        document.render(given.out)
        return 0
    form = "short" if given.short else "quick" if given.quick else "full"
    changes = [f"{name}={getattr(given, name)}" for name in ("rounds", "seconds") if getattr(given, name)]
    try:
        settings = choose(form, changes + given.set)
        wanted = experiments(given.what, given.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    found = origin.of_tree(given.out) if given.check else origin.of_build(binaries()["binary"], given.out)
    refusal = found.refusal()
    if refusal and not given.any_tree:
        print(refusal, file=sys.stderr)
        return 2
    if given.check:
        return 0
    # Told to stop, a run goes out by the same doors as when it ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return measured(given, settings, wanted, found.text())


def break_in(bench):
    """Traffic for the parts before anything is measured, whose broker may have been started a moment ago."""
    with Installation(bench, "break_in") as installation:
        service = installation.start()
        campaign = service.campaign("break in")
        plan = bench.settings
        load.open_load(bench, service, campaign, rate=plan.break_in_rate, seconds=plan.break_in_seconds)


def measured(given, settings, wanted, commit):
    seed = given.seed or int(time.time())
    random.seed(seed)
    failed = False
    with Bench(settings, given.out, seed) as bench:
        run = document.load(given.out, given.what) if given.add else {"experiments": {}}
        run = {"machine": machine.describe(bench, commit), "experiments": run["experiments"]}
        break_in(bench)
        for name, module in wanted.items():
            bench.say(f"{name} ({settings.form})")
            began, known = time.monotonic(), len(bench.breaches)
            try:
                figures = module.measure(bench)
            # Whatever it is: what was measured before is kept, and what comes after may still work.
            except Exception as error:
                bench.say(f"FAILED  {name}: {error}")
                if not isinstance(error, Failed):
                    traceback.print_exc()
                failed = True
                continue
            run["experiments"][name] = {
                "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
                "seed": seed,
                "commit": commit,
                "minutes": (time.monotonic() - began) / 60,
                "settings": dataclasses.asdict(settings),
                "breaches": bench.breaches[known:],
                "figures": figures,
            }
            document.save(given.out, given.what, run)
            document.render(given.out)
            bench.say(f"written to {given.out}")
    for breach in bench.breaches:
        print(f"BREACH  {breach}", file=sys.stderr)
    return 1 if bench.breaches or failed else 0


if __name__ == "__main__":
    sys.exit(main())
