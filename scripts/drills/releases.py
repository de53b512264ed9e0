"""The releases of docs/releases.tsv, and their builds."""

import os
import shutil
import subprocess
from pathlib import Path

from .service import ROOT, say


def last():
    """Version and commit of the last release."""
    lines = (ROOT / "docs/releases.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    if not rows:
        raise SystemExit("drill: docs/releases.tsv has no release; set DRILL_OLD_BINARY")
    version, commit, _ = rows[-1]
    return version, commit


def binary():
    """The service of the last release, built if it is missing."""
    if given := os.environ.get("DRILL_OLD_BINARY"):
        return given
    version, commit = last()
    folder = ROOT / "target/releases" / version
    built = folder / f"firstcome-{commit[:12]}"
    if not built.exists():
        build(version, commit, folder, built)
    return str(built)


def build(version, commit, folder, built):
    is_known = subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
    if not is_known:
        raise SystemExit(f"drill: the commit {commit} of release {version} is not in this clone. If the clone is shallow, "
                         "run `git fetch --unshallow`; or set DRILL_OLD_BINARY to a binary of the release")
    say(f"building release {version} of commit {commit[:12]}; this takes minutes")
    source, target = folder / "source", folder / "build"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "--extract", "--directory", source], input=archive, check=True)
    settings = {"CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "false",
                "FIRSTCOME_BUILD_VERSION": f"{version}+{commit}"}
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--bin", "firstcome"], cwd=source,
                   env=os.environ | settings, check=True)
    # Renamed last, so that an interrupted build leaves nothing that looks complete.
    shutil.copy(target / "debug/firstcome", folder / "firstcome.new")
    Path(folder / "firstcome.new").rename(built)
    shutil.rmtree(source)
    shutil.rmtree(target)
