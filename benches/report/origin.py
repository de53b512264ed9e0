"""What is measured: a commit. A tree that differs from its commit, or a service built from another one, is refused."""

import dataclasses
import os
import re
import subprocess

from .machine import first_line
from .parts import ROOT

# Where reports are written: results, and no part of what is measured.
REPORT = "docs/report"
NAMED_MAX = 5
GENERATORS = ("BENCH_OPEN_LOAD", "BENCH_PLAIN_JSON")
ADVICE = (
    "Commit or stash the changes and measure what is built from them; or measure all the same with --any-tree, "
    "and the report says so."
)


@dataclasses.dataclass(frozen=True)
class Origin:
    """The commit of the tree, and what is not from it."""

    # None: the tree is not in a repository.
    commit: str | None
    # Files that differ from the commit, those that it does not have included.
    changed: tuple = ()
    # The commit that the service says it was built from; an empty text: it does not say.
    built: str | None = None
    # Variables that name other builds of the load generators.
    others: tuple = ()

    def differences(self):
        """Why the figures would not be those of the commit, in words."""
        if self.commit is None:
            yield "the tree is in no repository, so its commit is not known"
        if self.changed:
            more = len(self.changed) - NAMED_MAX
            named = ", ".join(self.changed[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
            yield f"the tree differs from its commit in {named}"
        if self.built == "":
            yield "the service does not say which commit it was built from"
        elif self.built and not (self.commit or "").startswith(self.built):
            yield f"the service was built from commit {self.built[:12]}"
        for name in self.others:
            yield f"{name} names another build"

    def text(self):
        """For the report."""
        commit = self.commit[:12] if self.commit else "unknown"
        differences = list(self.differences())
        return f"{commit}, but {'; '.join(differences)} (--any-tree)" if differences else commit

    def refusal(self):
        """What to say instead of measuring; none: the figures are those of the commit."""
        differences = list(self.differences())
        if not differences:
            return None
        of = f" (commit {self.commit[:12]})" if self.commit else ""
        return f"not measured{of}: {'; '.join(differences)}.\n{ADVICE}"


def of_tree(out=None):
    """The origin of a build that is about to be made."""
    commit = git("rev-parse", "HEAD")
    return Origin(commit, tuple(changed(out)) if commit else ())


def of_build(binary, out=None):
    """The origin of what is measured: of the tree, and of the service that was built."""
    told = re.search(r"\+([0-9a-f]{7,40})$", first_line([binary, "--version"]))
    others = tuple(name for name in GENERATORS if os.environ.get(name))
    return dataclasses.replace(of_tree(out), built=told.group(1) if told else "", others=others)


def changed(out):
    """Files that differ from the commit, without reports."""
    results = [REPORT]
    if out is not None and out.resolve().is_relative_to(ROOT.resolve()):
        results.append(str(out.resolve().relative_to(ROOT.resolve())))
    paths = [f":(exclude){path}" for path in results if path != "."]
    told = git("status", "--porcelain", "--untracked-files=all", "--no-renames", "--", ".", *paths)
    return [line[3:] for line in (told or "").splitlines()]


def git(*words):
    """What git says; none where it fails."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=60, check=False
        )
    except OSError:
        return None
    return asked.stdout.rstrip("\n") if asked.returncode == 0 else None
