import contextlib
import io
import pathlib
import subprocess
import tempfile
import unittest
from unittest import mock

from benches.report import __main__ as command
from benches.report import document, origin

AUTHOR = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")


class Repository(unittest.TestCase):
    """Each test has a repository with one commit, and a service that says which commit it was built from."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "tree"
        self.root.mkdir()
        self.out = self.root / "target/measured"
        self.enterContext(mock.patch.object(origin, "ROOT", self.root))
        without = dict.fromkeys(origin.GENERATORS, "")
        self.enterContext(mock.patch.dict("os.environ", without))
        self.git("init", "--quiet")
        (self.root / "main.rs").write_text("one\n")
        self.git("add", ".")
        self.git(*AUTHOR, "commit", "--quiet", "--message", "one")
        self.commit = self.git("rev-parse", "HEAD")
        self.binary = pathlib.Path(folder.name) / "firstcome"
        self.build(f"0.1.0+{self.commit}")

    def git(self, *words):
        asked = subprocess.run(
            ["git", "-C", str(self.root), *words], capture_output=True, text=True, check=True
        )
        return asked.stdout.strip()

    def build(self, version):
        self.binary.write_text(f"#!/bin/sh\necho firstcome {version}\n")
        self.binary.chmod(0o755)

    def refusal(self):
        return origin.of_build(self.binary, self.out).refusal()


class Refusing(Repository):
    def test_a_clean_tree_and_its_build_are_measured(self):
        self.assertIsNone(self.refusal())
        self.assertEqual(origin.of_build(self.binary).text(), self.commit[:12])

    def test_a_changed_file_is_refused(self):
        (self.root / "main.rs").write_text("two\n")
        self.assertIn("differs from its commit in main.rs", self.refusal())
        self.assertIn("--any-tree", self.refusal())
        self.assertIn("main.rs", origin.of_tree().refusal())

    def test_a_staged_a_deleted_and_a_new_file_are_refused(self):
        for change in (
            lambda: ((self.root / "main.rs").write_text("two\n"), self.git("add", ".")),
            lambda: (self.root / "main.rs").unlink(),
            lambda: (self.root / "other.rs").write_text("new\n"),
        ):
            self.git("reset", "--hard", "--quiet")
            change()
            self.assertIn(".rs", self.refusal())

    def test_many_changed_files_are_counted(self):
        for number in range(8):
            (self.root / f"{number}.rs").write_text("new\n")
        self.assertIn("4.rs and 3 more", self.refusal())

    def test_reports_are_no_change(self):
        for folder in (self.root / origin.REPORT, self.out):
            folder.mkdir(parents=True)
            (folder / "compare.json").write_text("{}\n")
        self.assertIsNone(self.refusal())

    def test_a_service_from_another_commit_is_refused(self):
        self.build(f"0.1.0+{'0' * 40}")
        self.assertIn("built from commit 000000000000", self.refusal())

    def test_a_service_that_does_not_name_its_commit_is_refused(self):
        self.build("0.1.0")
        self.assertIn("does not say", self.refusal())
        self.assertIsNone(origin.of_tree().refusal(), "before it is built, the tree alone counts")

    def test_another_build_of_a_generator_is_refused(self):
        with mock.patch.dict("os.environ", {"BENCH_OPEN_LOAD": "/elsewhere/open_load"}):
            self.assertIn("BENCH_OPEN_LOAD", self.refusal())

    def test_a_tree_without_a_repository_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            with mock.patch.object(origin, "ROOT", pathlib.Path(folder)):
                self.assertIn("no repository", self.refusal())


class Command(Repository):
    def run_with(self, *words):
        """The exit code and the errors of a command that would measure with `Bench`."""
        errors = io.StringIO()
        words = ["report", "compare", "--out", str(self.out), *words]
        with (
            mock.patch("sys.argv", words),
            mock.patch.dict("os.environ", {"BENCH_BINARY": str(self.binary)}),
            mock.patch.object(command, "Bench", side_effect=Measured),
            contextlib.redirect_stderr(errors),
        ):
            return command.main(), errors.getvalue()

    def test_a_clean_tree_is_measured(self):
        self.assertEqual(self.run_with("--check"), (0, ""))
        self.assertRaises(Measured, self.run_with)

    def test_a_changed_tree_is_measured_only_when_asked_for(self):
        (self.root / "main.rs").write_text("two\n")
        for words in (["--check"], []):
            code, errors = self.run_with(*words)
            self.assertEqual(code, 2)
            self.assertIn("main.rs", errors)
        self.assertRaises(Measured, self.run_with, "--any-tree")
        self.assertEqual(self.run_with("--check", "--any-tree"), (0, ""))

    def test_the_report_says_that_the_tree_was_changed(self):
        (self.root / "main.rs").write_text("two\n")
        told = origin.of_build(self.binary).text()
        self.assertIn(f"{self.commit[:12]}, but the tree differs from its commit in main.rs (--any-tree)", told)
        one = {"when": "now", "minutes": 1, "seed": 1, "commit": told}
        one["settings"] = {"form": "full", "rounds": 1, "seconds": 1}
        self.assertIn(told, document.circumstances(one))


class Measured(Exception):
    """It would be measured now."""


if __name__ == "__main__":
    unittest.main()
