"""Connections that are encrypted and logged in to: every part of the project makes them, and one
that can't be made is told in a sentence that names the setting."""

import asyncio
import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streamwf import Settings
from streamwf.adapters.kafka import KafkaTopic
from streamwf.adapters.kafka.reach import reach
from streamwf.adapters.kafka.topics import admin, create
from streamwf.adapters.problems import error_of, problem_of
from streamwf.errors import LoginRefused, StreamwfError, TopicNotFound
from streamwf.settings import KafkaSecurity
from tests.kafka.cluster import Worker, until
from tests.kafka.secure import KEY_PASSWORD, PASSWORD, USER, SecureKafka
from tests.secrecy import forms

STREAMWF = (sys.executable, "-m", "streamwf.cli")
TARGET = "tests.cli.sample"

#: Seconds that a command may take.
PATIENCE = 60.0

WRONG = "wr0ng-Tr0ub4dor"

CLEAR = {"kafka_security_protocol": "sasl_plaintext", "kafka_ca_file": None}


def tls(kafka: SecureKafka, **others: Any) -> dict[str, Any]:
    return {
        "kafka_security_protocol": "ssl",
        "kafka_ca_file": str(kafka.authority.ca_file),
        **others,
    }


def login(kafka: SecureKafka, **others: Any) -> dict[str, Any]:
    known = {"kafka_username": USER, "kafka_password": PASSWORD}
    return tls(kafka, **{"kafka_security_protocol": "sasl_ssl", **known, **others})


def in_environment(settings: Mapping[str, Any]) -> dict[str, str]:
    given = {name: value for name, value in settings.items() if value is not None}
    return {f"STREAMWF_{name.upper()}": str(value) for name, value in given.items()}


def call(settings: Mapping[str, Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **in_environment(settings)}
    return subprocess.run(
        [*STREAMWF, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env=environment,
    )


# aiokafka does not wait until its first connection is closed, and TLS takes a moment for that.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a test leaves to the garbage is warned of here, and not in the tests of others."""
    yield
    gc.collect()


# ---- connections that can be made


@pytest.fixture
def place() -> tuple[str, ...]:
    return ("--topic-prefix", f"t{uuid.uuid4().hex[:8]}.", "--partitions", "2")


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        if worker.runs:
            worker.kill()


def worker_of(
    settings: Mapping[str, Any], folder: Path, *flags: str, target: str = TARGET
) -> Worker:
    command = (*STREAMWF, "worker", target, "--web-port", "0", *flags)
    return Worker("worker", folder, in_environment(settings), command).start()


def told(url: str) -> str:
    with urlopen(url, timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


async def ready(worker: Worker) -> None:
    def is_ready() -> bool:
        with contextlib.suppress(OSError, IndexError):
            return bool(told(f"{worker.url}/readyz"))
        assert worker.runs, worker.text()
        return False

    await until(is_ready, "ready", PATIENCE)


async def complete(url: str, runs: int) -> None:
    def all_of_them() -> bool:
        listed = json.loads(told(f"{url}/api/v1/runs/count?state=COMPLETED"))
        return bool(listed["count"] == runs)

    await until(all_of_them, f"{runs} runs complete", PATIENCE)


async def test_a_worker_runs_and_the_commands_work(
    secure_kafka: SecureKafka, place: tuple[str, ...], workers: list[Worker], tmp_path: Path
) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    settings = login(secure_kafka, brokers=secure_kafka.at("LOGIN"))
    del settings["kafka_password"]
    flags = ("--kafka-password-file", str(secret), "--kafka-sasl-mechanism", "SCRAM-SHA-256")
    workers.append(worker_of(settings, tmp_path, *place, *flags))
    await ready(workers[0])

    straight = (*flags, "--brokers", settings["brokers"], *place[:2])
    pile = tmp_path / "runs.jsonl"
    pile.write_text("\n".join(json.dumps({"foreign_id": f"p-{n}", "object": {}}) for n in range(9)))
    triggered = call(settings, "trigger", "parcels", "--from", str(pile), *straight)
    assert (triggered.returncode, triggered.stderr) == (0, "")
    await complete(workers[0].url, 9)

    verified = call(settings, "verify", TARGET, *place, *flags)
    assert verified.stdout == "parcels: 9 rows, all as the log leads to them\n"
    checked = call(settings, "check", TARGET, "--against", "kafka", *place[:2], *flags)
    assert "of 0 live runs" in checked.stdout
    now = ("--until", "2100-01-01T00:00:00Z", "--json")
    replayed = call(settings, "replay", TARGET, *now, *place[:2], *flags)
    assert json.loads(replayed.stdout)["counts"]
    assert workers[0].stop() == 0
    here = ("--data-dir", str(tmp_path / "worker"), "--json")
    rebuilt = call(settings, "rebuild", TARGET, *place, *flags, *here)
    assert json.loads(rebuilt.stdout)["runs"] == 9


async def test_a_worker_shows_a_certificate(
    secure_kafka: SecureKafka, place: tuple[str, ...], workers: list[Worker], tmp_path: Path
) -> None:
    mine = {"kafka_cert_file": secure_kafka.client_file, "kafka_key_password": KEY_PASSWORD}
    settings = tls(secure_kafka, brokers=secure_kafka.at("MUTUAL"), **mine)
    workers.append(worker_of(settings, tmp_path, *place))
    await ready(workers[0])
    straight = ("--brokers", settings["brokers"], *place[:2])
    assert call(settings, "trigger", "parcels", "p-1", "--data", "{}", *straight).returncode == 0
    await complete(workers[0].url, 1)
    assert call(settings, "verify", TARGET, *place).returncode == 0


ADMITTED: dict[str, tuple[str, Callable[[SecureKafka], dict[str, Any]]]] = {
    "SCRAM-SHA-512": ("localhost LOGIN", login),
    "SCRAM-SHA-256": (
        "localhost LOGIN",
        lambda kafka: login(kafka, kafka_sasl_mechanism="scram-sha-256"),
    ),
    "PLAIN": ("localhost LOGIN", lambda kafka: login(kafka, kafka_sasl_mechanism="PLAIN")),
    "PLAIN without TLS": (
        "localhost CLEAR",
        lambda kafka: login(kafka, **CLEAR, kafka_sasl_mechanism="PLAIN"),
    ),
    "TLS": ("localhost TLS", tls),
    "whatever the host's name is": (
        "127.0.0.1 LOGIN",
        lambda kafka: login(kafka, kafka_check_hostname=False),
    ),
}


@pytest.mark.parametrize("case", ADMITTED)
async def test_topics_of_others_are_read(secure_kafka: SecureKafka, case: str) -> None:
    where, settings = ADMITTED[case]
    host, listener = where.split()
    topic = f"t{uuid.uuid4().hex[:8]}.payments"
    security = KafkaSecurity(**settings(secure_kafka))
    source = KafkaTopic(topic, secure_kafka.at(listener, host), security=security)
    with pytest.raises(TopicNotFound):
        await source.partitions()
    async with AIOKafkaProducer(bootstrap_servers=secure_kafka.bootstrap) as producer:
        await produce(secure_kafka, topic, producer)
    assert await source.partitions() == ["0"]
    assert await source.behind({"0": None}) == {"0": 1}
    messages = source.open("0", None)
    async with asyncio.timeout(PATIENCE):
        assert (await anext(messages)).value == b"paid"
    await messages.aclose()


async def produce(kafka: SecureKafka, topic: str, producer: AIOKafkaProducer) -> None:
    client = await admin(Settings(brokers=kafka.bootstrap))
    await create(client, NewTopic(topic, 1, 1))
    await client.close()
    await producer.send_and_wait(topic, b"paid", partition=0)


async def test_a_topic_that_can_not_be_read_says_why(secure_kafka: SecureKafka) -> None:
    brokers = secure_kafka.at("LOGIN")
    security = KafkaSecurity(**login(secure_kafka, kafka_password=WRONG))
    source = KafkaTopic("payments", brokers, security=security)
    for ask in (source.partitions(), source.behind({"0": None}), anext(source.open("0", None))):
        with pytest.raises(LoginRefused, match=r"Check\s+kafka_username and kafka_password"):
            await ask


# ---- connections that can't be made

PLAIN: dict[str, Any] = {}

Refused = tuple[str, Callable[[SecureKafka], dict[str, Any]], str]

#: Where it connects to, what is set, and what the sentence has to say.
REFUSED: dict[str, Refused] = {
    "a wrong password": (
        "localhost LOGIN",
        lambda kafka: login(kafka, kafka_password=WRONG),
        "refused the login of 'parcels-worker': .* Check kafka_username and kafka_password",
    ),
    "a wrong password by PLAIN": (
        "localhost LOGIN",
        lambda kafka: login(kafka, kafka_password=WRONG, kafka_sasl_mechanism="PLAIN"),
        "refused the login of 'parcels-worker': .* Check kafka_username and kafka_password",
    ),
    "a mechanism that is not there": (
        "localhost CLEAR",
        lambda kafka: login(kafka, **CLEAR),
        "no login by SCRAM-SHA-512. Set kafka_sasl_mechanism",
    ),
    "an authority that is not trusted": (
        "localhost TLS",
        lambda kafka: tls(kafka, kafka_ca_file=str(kafka.stranger.ca_file)),
        "is not trusted: .* in kafka_ca_file",
    ),
    "an authority that the system does not know": (
        "localhost LOGIN",
        lambda kafka: login(kafka, kafka_ca_file=None),
        "is not trusted: .* in kafka_ca_file",
    ),
    "a certificate for another host": (
        "127.0.0.1 LOGIN",
        login,
        "is not for that host: .* set kafka_check_hostname to false",
    ),
    "a broker that names itself by another host": (
        "localhost MISNAMED",
        tls,
        r"broker at 127\.0\.0\.1:\d+ is not for that host: .* kafka_check_hostname",
    ),
    "no certificate where one is wanted": (
        "localhost MUTUAL",
        tls,
        "does not accept kafka_cert_file, or wants one",
    ),
    "a certificate of who is not trusted": (
        "localhost MUTUAL",
        lambda kafka: tls(kafka, kafka_cert_file=str(kafka.stranger.issue("intruder"))),
        "does not accept kafka_cert_file, or wants one",
    ),
    "plaintext to TLS": (
        "localhost TLS",
        lambda kafka: PLAIN,
        "does not speak plaintext there: .* Set kafka_security_protocol",
    ),
    "plaintext to a log-in": (
        "localhost CLEAR",
        lambda kafka: PLAIN,
        "does not speak plaintext there: .* Set kafka_security_protocol",
    ),
    "TLS to plaintext": (
        "localhost CLEAR",
        tls,
        "does not speak ssl there: .* Set kafka_security_protocol",
    ),
    "TLS alone to a log-in": (
        "localhost LOGIN",
        tls,
        "does not speak ssl there: .* Set kafka_security_protocol",
    ),
    "a log-in where there is none": (
        "localhost TLS",
        login,
        "does not speak sasl_ssl there: .* Set kafka_security_protocol",
    ),
    "a host that is not known": (
        "nowhere.invalid LOGIN",
        login,
        "No Kafka broker answers at nowhere.invalid:.* or name another with --brokers",
    ),
    "a port that is none": ("localhost:x", tls, "brokers: 'localhost:x' is not HOST:PORT"),
}


def refused(kafka: SecureKafka, case: str) -> tuple[str, dict[str, Any], str]:
    where, settings, says = REFUSED[case]
    host, _, listener = where.partition(" ")
    return kafka.at(listener, host) if listener else host, settings(kafka), says


@pytest.mark.parametrize("case", REFUSED)
async def test_it_is_told_why(secure_kafka: SecureKafka, case: str) -> None:
    brokers, settings, says = refused(secure_kafka, case)
    with pytest.raises(StreamwfError) as caught:
        await asyncio.wait_for(reach(brokers, KafkaSecurity(**settings)), PATIENCE)
    assert re.search(says, " ".join(str(caught.value).split())), caught.value
    # It travels to whoever asks over HTTP.
    members = problem_of(caught.value, 503)
    assert not secrets_in(json.dumps(members))
    assert str(error_of(members)) == str(caught.value)


#: A process takes its time to start, so that not each case is tried by one.
BY_COMMAND = (
    *("a wrong password", "an authority that is not trusted", "a certificate for another host"),
    *("plaintext to TLS", "a host that is not known", "a port that is none"),
)


@pytest.mark.parametrize("case", BY_COMMAND)
def test_a_worker_ends_with_a_sentence(
    secure_kafka: SecureKafka, place: tuple[str, ...], tmp_path: Path, case: str
) -> None:
    brokers, settings, says = refused(secure_kafka, case)
    here = ("--brokers", brokers, "--data-dir", str(tmp_path), "--log-level", "warning")
    ended = call(settings, "worker", TARGET, *place, *here)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(f"Error: .*{says}.*", " ".join(ended.stderr.split())), ended.stderr
    assert "Traceback" not in ended.stderr
    assert not secrets_in(ended.stderr)


def secrets_in(text: str) -> list[str]:
    """The secrets of these tests that can be read in a text, as they are or as base64."""
    secrets = (PASSWORD, WRONG, KEY_PASSWORD)
    return [secret for secret in secrets if any(form.decode() in text for form in forms(secret))]


# ---- what is logged


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_no_secret_is_told_at_debug(
    secure_kafka: SecureKafka,
    place: tuple[str, ...],
    workers: list[Worker],
    tmp_path: Path,
    mechanism: str,
) -> None:
    brokers = secure_kafka.at("LOGIN")
    settings = login(secure_kafka, brokers=brokers, kafka_sasl_mechanism=mechanism)
    workers.append(worker_of(settings, tmp_path, *place, "--log-level", "debug"))
    await ready(workers[0])
    url = workers[0].url
    pages = [told(f"{url}{path}") for path in ("/metrics", "/readyz", "/api/v1/workflows")]
    pages.append(told(f"{url}/api/v1/roles"))
    assert workers[0].stop() == 0
    text = workers[0].text()
    assert "SaslHandShakeRequest" in text, "it is the level at which requests are told"
    assert "sasl_auth_bytes" not in text
    assert not secrets_in("\n".join([text, *pages]))
