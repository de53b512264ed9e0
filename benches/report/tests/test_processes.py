import os
import pathlib
import sys
import tempfile
import time
import unittest

from benches.report.parts import ROOT
from benches.report.processes import Child, Failed, Watch, cpu_seconds, run


class Processes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.log = pathlib.Path(folder.name) / "log.log"

    def test_what_a_command_prints_is_returned(self):
        told, child = run([sys.executable, "-c", "print('yes')"], 60, self.log)
        self.assertEqual((told.strip(), child.code), ("yes", 0))
        self.assertGreater(child.cpu_seconds, 0)

    def test_a_command_that_fails_is_a_failure_that_says_what_it_said(self):
        with self.assertRaises(Failed) as caught:
            run([sys.executable, "-c", "import sys; sys.exit('why not')"], 60, self.log)
        self.assertIn("why not", str(caught.exception))

    def test_what_occupies_a_share_of_a_core_takes_no_more(self):
        with Watch({}) as watched:
            child = Child([sys.executable, "-m", "benches.report.occupy", "0.3"], self.log, cwd=ROOT)
            while (cpu_seconds(child.pid) or 0) < 0.3:
                self.assertTrue(child.running())
            child.stop()
        # Python itself takes some of it to begin.
        self.assertLess(child.cpu_seconds, 0.3 * watched.seconds + 0.3)

    def test_a_command_that_takes_too_long_is_no_more(self):
        child = Child([sys.executable, "-c", "import time; time.sleep(600)"], self.log)
        self.assertRaises(Failed, child.wait, 0)
        self.assertRaises(ProcessLookupError, os.kill, child.pid, 0)

    def test_stopping_ends_what_was_started_in_turn(self):
        # The shell is the child; what it starts is in its group.
        child = Child(["sh", "-c", "sleep 600 & echo $!; wait"], self.log)
        while not child.out.read_text().strip():
            self.assertTrue(child.running())
        inner = int(child.out.read_text())
        child.stop()
        self.assertFalse(child.running())
        # It was told to end with the shell, and may still be at it.
        deadline = time.monotonic() + 10
        while not gone(inner):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_two_of_the_same_name_do_not_share_their_files(self):
        first, second = (Child(["true"], self.log) for _ in range(2))
        self.assertNotEqual(first.out, second.out)
        first.wait(60)
        second.wait(60)

    def test_what_a_process_costs_is_measured_while_it_is_watched(self):
        with Watch({"me": [os.getpid()], "nobody": []}) as watched:
            while sum(os.times()[:2]) < watched.before["me"] + 0.1:
                sum(range(10_000))
        _, generator = run(["true"], 60, self.log)
        costs = watched.costs(generator, 10)
        self.assertGreaterEqual(costs["me"]["cpu_ms_each"], 5)
        self.assertGreater(costs["me"]["memory_mib"], 1)
        self.assertIsNone(costs["nobody"]["cpu_percent"])
        self.assertIn("generator", costs)


def gone(pid):
    """Whether a process has ended; one that nobody waited for yet has."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


if __name__ == "__main__":
    unittest.main()
