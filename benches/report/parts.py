"""MySQL, Redis and Kafka as scripts/parts runs them: started when they are down, asked, and left as they were."""

import datetime
import json
import pathlib
import shutil
import subprocess

from .processes import Child, Failed, run
from .redis import Redis

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/parts"
TOOLS = ROOT / ".parts/kafka-tools"
TOOLS_POM = ROOT / "benches/report/kafka-tools.pom.xml"
ASK_SECONDS_MAX = 900
NAMES = ("mysql", "redis", "kafka")


class Parts:
    """The real parts. `work` is a folder for what they print."""

    def __init__(self, work):
        self.work = work
        self.started = subprocess.run([SCRIPT, "status"], capture_output=True, check=False).returncode != 0
        self.call("up", seconds_max=600)
        exports = self.call("env").splitlines()
        pairs = [line.removeprefix("export ").split("=", 1) for line in exports]
        self.env = dict(pairs)
        # Each installation has its own beside its schema.
        self.env.pop("FIRSTCOME_REWARDS_DATABASE_URL", None)
        self.server = self.env["FIRSTCOME_DATABASE_URL"].rpartition("/")[0]
        self.brokers = self.env["FIRSTCOME_KAFKA_BROKERS"]
        self.redis_port = int(self.env["FIRSTCOME_REDIS_URL"].rpartition(":")[2])
        self.redis = Redis(self.redis_port)

    def close(self):
        if self.started:
            self.call("down", seconds_max=120)

    def call(self, *words, seconds_max=60, stdin=None):
        told, _ = run([SCRIPT, *words], seconds_max, self.work / "parts.log", stdin=stdin)
        return told

    def pids(self):
        """By part; where Docker hides them, what it says."""
        found = {}
        for name in NAMES:
            file = ROOT / ".parts/run" / f"{name}.pid"
            if file.exists():
                found[name] = [int(file.read_text().split()[0])]
            elif shutil.which("docker"):
                found[name] = docker_pids(name)
            else:
                found[name] = []
        return found

    # --- MySQL ---

    def sql(self, statement, schema=None):
        """The rows, as lists of text."""
        file = self.work / "statement.sql"
        file.write_text(statement)
        return self.sql_file(file, schema)

    def sql_file(self, file, schema=None):
        with open(file, "rb") as text:
            told = self.call(
                "cli",
                "mysql",
                "-N",
                "-B",
                *([schema] if schema else []),
                seconds_max=ASK_SECONDS_MAX,
                stdin=text,
            )
        return [line.split("\t") for line in told.splitlines()]

    def number(self, statement, schema=None):
        """One whole number."""
        [[value]] = self.sql(statement, schema)
        return int(value)

    def sessions(self, schema, files, seconds_max):
        """Feeds each file to a client of its own, all at once; returns the seconds it took by the server's clock.

        A file begins and ends with `SELECT NOW(6)`: starting clients is not counted.
        """
        children = []
        try:
            for nth, file in enumerate(files):
                command = [SCRIPT, "cli", "mysql", "-N", "-B", schema]
                with open(file, "rb") as text:
                    children.append(Child(command, self.work / f"session{nth}.log", stdin=text))
            for child in children:
                if child.wait(seconds_max) != 0:
                    raise Failed(f"a session of MySQL failed\n{child.tail()}")
        finally:
            for child in children:
                child.stop()
        moments = [
            datetime.datetime.fromisoformat(line)
            for child in children
            for line in child.out.read_text().splitlines()
        ]
        return (max(moments) - min(moments)).total_seconds()

    # --- Redis ---

    def redis_benchmark(self):
        """The command of Redis' own benchmark, up to where it finds Redis."""
        root = ROOT / ".parts/root"
        if (root / "usr/bin/redis-benchmark").exists():
            return ["chroot", root, "redis-benchmark", "-p", self.redis_port]
        if shutil.which("redis-benchmark"):
            return ["redis-benchmark", "-p", self.redis_port]
        return ["docker", "compose", "--project-directory", ROOT, "exec", "-T", "redis", "redis-benchmark"]

    # --- Kafka ---

    def kafka_tool(self, name, *arguments, seconds_max=120):
        """Runs one of Kafka's own tools; a Failed when there is no Java or Maven to have them."""
        java = find_java()
        if not (TOOLS / ".installed").exists():
            if not shutil.which("mvn"):
                raise Failed("Kafka's tools are not installed, and there is no Maven to fetch them")
            fetch = ["mvn", "-B", "-ntp", "-q", "-f", TOOLS_POM, "dependency:copy-dependencies"]
            goal = ["-DincludeScope=runtime", f"-DoutputDirectory={TOOLS}"]
            run([*fetch, *goal], 600, self.work / "maven.log")
            (TOOLS / ".installed").touch()
        words = ["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{TOOLS}/*"]
        told, child = run(
            [java, *words, f"org.apache.kafka.tools.{name}", *arguments],
            seconds_max,
            self.work / "kafka-tool.log",
        )
        return told, child

    def delete_topics(self, prefix):
        pattern = f"{prefix}.*"
        self.kafka_tool(
            "TopicCommand", "--bootstrap-server", self.brokers, "--delete", "--if-exists", "--topic", pattern
        )

    def delete_groups(self, groups):
        words = [word for group in groups for word in ("--group", group)]
        if words:
            self.kafka_tool(
                "consumer.group.ConsumerGroupCommand", "--bootstrap-server", self.brokers, "--delete", *words
            )

    def records(self, topic, seconds_max=300):
        """All records of a topic as one consumer receives them: partition, key, headers with the campaign."""
        form = r"%p\t%k\t%h\t%s\n"
        words = ["-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", form]
        for line in self.call("cli", "kafka", *words, seconds_max=seconds_max).splitlines():
            partition, key, headers, value = line.split("\t", 3)
            pairs = (header.partition("=") for header in headers.split(","))
            told = {name: text for name, _, text in pairs}
            told["campaign"] = json.loads(value)["campaignId"]
            yield int(partition), key, told


def docker_pids(name):
    asked = ["docker", "compose", "--project-directory", ROOT, "ps", "--quiet", name]
    container = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if not container:
        return []
    asked = ["docker", "inspect", "--format", "{{.State.Pid}}", container]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return [int(told)] if told.isdigit() else []


def find_java():
    """A Java of 17 or newer."""
    candidates = [shutil.which("java"), *map(str, sorted(pathlib.Path("/usr/lib/jvm").glob("*/bin/java")))]
    for java in filter(None, candidates):
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
        version = told.partition('version "')[2].split(".")[0].strip('"')
        if version.isdigit() and int(version) >= 17:
            return java
    raise Failed("there is no Java of 17 or newer; scripts/parts install has one installed")
