"""Processes that a run starts, each ended by its own id, and what processes cost of the machine."""

import itertools
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")
STOP_SECONDS_MAX = 25
SAMPLE_SECONDS = 0.25
NUMBERS = itertools.count(1)


class Failed(Exception):
    """Something that a run needs did not work; the text says what, and what it said last."""


class Child:
    """A process in a group of its own. What it prints goes to files, so that no pipe can stop it.

    In this session, though: Linux gives each session the same share of a busy processor, however many threads it
    has (autogroup), and a service whose generator counts as much as itself stalls for tenths of a second.
    """

    def __init__(self, command, log, env=None, cwd=None, stdin=None):
        self.name = pathlib.Path(str(command[0])).name
        # Two of the same name may run at the same time.
        self.log = pathlib.Path(log)
        self.log = self.log.with_name(f"{self.log.stem}-{next(NUMBERS)}.log")
        self.out = self.log.with_suffix(".out")
        self.cpu_seconds = 0.0
        self.code = None
        with open(self.out, "wb") as out, open(self.log, "ab") as errors:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=stdin or subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                env=env,
                cwd=cwd,
                process_group=0,
            )
        self.pid = self.process.pid

    def running(self):
        return not self.reap(os.WNOHANG)

    def reap(self, options):
        """Takes the exit code and the processor time of a process that has ended."""
        if self.code is not None:
            return True
        pid, status, usage = os.wait4(self.pid, options)
        if pid == 0:
            return False
        self.code = os.waitstatus_to_exitcode(status)
        self.process.returncode = self.code
        self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return True

    def wait(self, seconds_max):
        """Its exit code; a Failed when it takes longer, and then it is no more."""
        deadline = time.monotonic() + seconds_max
        while self.running():
            if time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise Failed(f"{self.name} took longer than {seconds_max} s\n{self.tail()}")
            time.sleep(0.02)
        return self.code

    def stop(self, first=signal.SIGTERM):
        """Ends it: asked first, killed when it does not listen."""
        for word in (first, signal.SIGKILL):
            if not self.running():
                return
            os.killpg(self.pid, word)
            deadline = time.monotonic() + STOP_SECONDS_MAX
            while self.running() and time.monotonic() < deadline:
                time.sleep(0.02)

    def tail(self, lines=15):
        files = [file for file in (self.log, self.out) if file.exists()]
        told = "".join(file.read_text(errors="replace") for file in files)
        return "\n".join(told.splitlines()[-lines:])


def run(command, seconds_max, log, env=None, stdin=None, codes=(0,), cwd=None):
    """Runs a command to its end; returns what it printed and the process."""
    child = Child(command, log, env=env, stdin=stdin, cwd=cwd)
    try:
        code = child.wait(seconds_max)
    finally:
        child.stop()
    if code not in codes:
        raise Failed(f"{' '.join(map(str, command[:6]))} … ended with {code}\n{child.tail()}")
    told = child.out.read_text(errors="replace")
    child.out.unlink()
    child.log.unlink()
    return told, child


def free_port():
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def cpu_seconds(pid):
    """Processor time of a process so far, its threads included; None when it is gone or hidden."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid):
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) / 1024 if found else None


class Watch:
    """Processor time and largest resident memory of named processes while something goes on.

    Percent are those of one core, so a machine of two cores has 200.
    """

    def __init__(self, pids):
        self.pids = {name: list(ids) for name, ids in pids.items()}
        self.memory = dict.fromkeys(pids)
        self.cpu = {}
        self.seconds = 0.0
        self.over = threading.Event()

    def __enter__(self):
        self.began = time.monotonic()
        self.before = {name: self.used(name) for name in self.pids}
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()
        return self

    def used(self, name):
        known = [cpu_seconds(pid) for pid in self.pids[name]]
        return None if None in known or not known else sum(known)

    def look(self):
        while True:
            for name, pids in self.pids.items():
                known = [size for size in map(resident_mib, pids) if size is not None]
                if known:
                    self.memory[name] = max(self.memory[name] or 0, sum(known))
            if self.over.wait(SAMPLE_SECONDS):
                return

    def __exit__(self, *_):
        self.seconds = time.monotonic() - self.began
        self.over.set()
        self.thread.join()
        for name, before in self.before.items():
            after = self.used(name)
            known = before is not None and after is not None
            self.cpu[name] = after - before if known else None

    def costs(self, generator, answers):
        """By process: percent of a core while it went on, milliseconds for each answer, and MiB.

        The generator has ended and tells its own time.
        """
        used = {**self.cpu, "generator": generator.cpu_seconds}
        return {
            name: {
                "cpu_percent": None if seconds is None else 100 * seconds / self.seconds,
                "cpu_ms_each": None if seconds is None or not answers else 1_000 * seconds / answers,
                "memory_mib": self.memory.get(name),
            }
            for name, seconds in used.items()
        }
