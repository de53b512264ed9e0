"""Which machine and which versions a report is about: figures without them say nothing."""

import os
import pathlib
import platform
import re
import statistics
import subprocess
import time

from .parts import ROOT, find_java
from .processes import Failed

# What decides how durable a commit, an admission and an acknowledgement are.
VARIABLES = ("innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_buffer_pool_size")


def describe(bench, commit):
    """Everything, as words; with the commit that is measured."""
    disk = ROOT / ".parts"
    [[mysql]] = bench.parts.sql("SELECT VERSION()")
    names = ", ".join(f"'{name}'" for name in VARIABLES)
    durable = dict(bench.parts.sql(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))
    redis = bench.parts.redis.info("server")["redis_version"]
    fsync = bench.parts.redis.ask("CONFIG", "GET", "appendfsync")[1]
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory": f"{memory_gib():.1f} GiB",
        "system": f"{system()}, Linux {platform.release()}",
        "load at the beginning": f"{os.getloadavg()[0]:.1f}",
        "fdatasync of 4 KiB, median": f"{fdatasync_ms(disk):.2f} ms",
        "firstcome": f"{first_line([bench.binary, '--version'])}, commit {commit}",
        "MySQL": f"{mysql}, " + ", ".join(f"{name}={value}" for name, value in sorted(durable.items())),
        "Redis": f"{redis}, appendfsync {fsync}",
        "Kafka": f"{kafka()}, acks=all, one broker",
        "Java": java(),
        "k6": first_line([bench.k6, "version"]),
        "wrk": first_line(["wrk", "-v"], codes=(0, 1)),
    }


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def system():
    found = re.search(r'^PRETTY_NAME="(.*)"$', pathlib.Path("/etc/os-release").read_text(), re.M)
    return found.group(1) if found else "Linux"


def fdatasync_ms(folder):
    """What a commit waits for at least: the disk, asked fifty times."""
    took = []
    file = folder / "fdatasync"
    with open(file, "wb", buffering=0) as disk:
        for _ in range(50):
            disk.write(b"x" * 4_096)
            began = time.perf_counter()
            os.fdatasync(disk.fileno())
            took.append(time.perf_counter() - began)
    file.unlink()
    return 1_000 * statistics.median(took)


def first_line(command, codes=(0,)):
    """What a program says of itself; a dash when it says nothing."""
    try:
        asked = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, timeout=20, check=False
        )
    except OSError:
        return "–"
    told = (asked.stdout or asked.stderr).strip()
    return told.splitlines()[0] if told and asked.returncode in codes else "–"


def kafka():
    jars = sorted((ROOT / ".parts/kafka").glob("kafka-clients-*.jar"))
    if jars:
        return jars[-1].stem.removeprefix("kafka-clients-")
    found = re.search(r"image: apache/kafka:(\S+)", (ROOT / "docker-compose.yml").read_text())
    return found.group(1) if found else "–"


def java():
    try:
        return first_line([find_java(), "-version"])
    except Failed:
        return "–"
