"""What every experiment has at hand: the parts, the tools, the settings, and where breaches are noted."""

import os
import pathlib
import shutil
import sys
import tempfile
import time

from .load import Users
from .parts import ROOT, Parts
from .processes import Failed


def binaries():
    """The service and the load generators, by attribute."""
    tools = {"binary": "firstcome", "open_load": "open_load", "plain_json": "plain_json"}
    folder = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
    given = {name: os.environ.get(f"BENCH_{name.upper()}") or folder / file for name, file in tools.items()}
    return {name: pathlib.Path(file).absolute() for name, file in given.items()}


class Bench:
    """One run. `run` is the first word of everything it makes in the parts."""

    def __init__(self, settings, out, seed):
        self.settings, self.out, self.seed = settings, pathlib.Path(out), seed
        self.run = f"report_{os.getpid()}"
        self.users = Users(seed)
        self.breaches = []
        self.groups = []
        self.deadline = time.monotonic() + settings.minutes_max * 60
        # What this process was told of a service is not for the services that it starts.
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("FIRSTCOME_") or name.startswith("FIRSTCOME_PARTS")
        }
        for name, file in binaries().items():
            setattr(self, name, file)
        self.k6 = pathlib.Path(os.environ.get("BENCH_K6", "k6"))
        if not self.k6.is_absolute() and shutil.which(str(self.k6)) is None:
            self.k6 = self.k6.absolute()

    def __enter__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="firstcome-report-"))
        self.parts = Parts(self.work)
        return self

    def __exit__(self, *_):
        """Whatever cannot be taken away is said, and is no reason to lose what was measured."""
        for step in (self.drop_schemas, self.forget_keys, self.delete_topics, self.parts.close):
            try:
                step()
            except (Failed, OSError, RuntimeError) as error:
                self.say(f"could not clean up: {error}")
        shutil.rmtree(self.work, ignore_errors=True)

    def drop_schemas(self):
        """Those that an installation could not drop itself."""
        begins = self.run.replace("_", "\\_")
        for [schema] in self.parts.sql(f"SHOW DATABASES LIKE '{begins}\\_%'"):
            self.parts.sql(f"DROP DATABASE {schema}")

    def forget_keys(self):
        self.parts.redis.forget(f"{self.run}_")

    def delete_topics(self):
        self.parts.delete_topics(f"{self.run}_")
        self.parts.delete_groups(self.groups)

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)

    def breach(self, text):
        """Something that must hold does not."""
        self.say(f"BREACH  {text}")
        self.breaches.append(text)

    def in_time(self):
        """Ends a run that takes longer than it may."""
        if time.monotonic() > self.deadline:
            raise TimeoutError(f"the run took longer than {self.settings.minutes_max} minutes")
