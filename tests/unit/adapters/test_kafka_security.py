"""What the settings make of a client of Kafka's, and what they can't."""

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from streamwf import Settings
from streamwf.adapters.kafka import KafkaSecurity, KafkaTopic
from streamwf.adapters.kafka.security import client_arguments
from streamwf.agents.app import faust_app
from streamwf.cli import main
from streamwf.errors import InvalidSettings
from tests.kafka.secure import KEY_PASSWORD, PASSWORD, USER, Authority
from tests.unit.sample import orders

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("certificates"), "authority")
    made.issue("sealed", password=KEY_PASSWORD)
    made.issue("open")
    made.issue("other")
    return made


PACKAGES = ("streamwf", "agents", "adapters", "tables")


def security(**settings: Any) -> KafkaSecurity:
    return KafkaSecurity(**{f"kafka_{name}": value for name, value in settings.items()})


def test_without_more_it_is_plain() -> None:
    assert client_arguments("kafka:1", KafkaSecurity()) == {
        "bootstrap_servers": "kafka:1",
        "security_protocol": "PLAINTEXT",
    }


def test_the_password_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b" with blanks \r\n")
    known = {"security_protocol": "SASL_plaintext", "username": USER}
    found = client_arguments("kafka:1", security(**known, password_file=file))
    assert found["sasl_plain_password"] == " with blanks "
    file.write_text("another")
    found = client_arguments("kafka:1", security(**known, password_file=file))
    assert found["sasl_plain_password"] == "another", "files are read anew"
    assert found["sasl_mechanism"] == "SCRAM-SHA-512"


def test_host_names_are_checked_unless_told_otherwise(authority: Authority) -> None:
    tls = {"security_protocol": "ssl", "ca_file": authority.ca_file}
    checks = [
        client_arguments("kafka:1", security(**tls, **more))["ssl_context"].check_hostname
        for more in ({}, {"check_hostname": False})
    ]
    assert checks == [True, False]


def test_a_certificate_that_was_replaced_counts(tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    tls = security(security_protocol="ssl", ca_file=first.ca_file)
    contexts = [client_arguments("kafka:1", tls)["ssl_context"] for _ in range(2)]
    assert contexts[0] is contexts[1]
    first.ca_file.write_bytes(second.ca_file.read_bytes())
    assert client_arguments("kafka:1", tls)["ssl_context"] is not contexts[0]


LOGIN = {"security_protocol": "sasl_ssl", "username": USER, "password": PASSWORD}

#: Settings, and the beginnings of the lines that tell what is wrong with them. {}: where files are.
MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a log-in without anything": (
        {"security_protocol": "sasl_ssl"},
        ["kafka_username: ", "kafka_password: "],
    ),
    "what plaintext would pass over": (
        {"username": USER, "password": PASSWORD, "ca_file": "{}/authority.pem"},
        ["kafka_username: ", "kafka_password: ", "kafka_ca_file: "],
    ),
    "what TLS alone would pass over": (
        {"security_protocol": "ssl", "password_file": "x"},
        ["kafka_password_file: kafka_security_protocol is ssl"],
    ),
    "a password twice": (
        {**LOGIN, "password_file": "x"},
        ["kafka_password: kafka_password_file is given as well"],
    ),
    "a file that is not there": (
        {**LOGIN, "password": None, "password_file": "{}/none"},
        ["kafka_password_file: {}/none can't be read: No such file"],
    ),
    "an empty file": (
        {**LOGIN, "password": None, "password_file": "/dev/null"},
        ["kafka_password_file: /dev/null is empty"],
    ),
    "no such authority": (
        {**LOGIN, "ca_file": "{}/none"},
        ["kafka_ca_file: {}/none can't be read"],
    ),
    "an authority that is none": (
        {**LOGIN, "ca_file": "/dev/null"},
        ["kafka_ca_file: /dev/null can't be used"],
    ),
    "a key without a certificate": ({**LOGIN, "key_file": "{}/open.pem"}, ["kafka_cert_file: "]),
    "a key of another certificate": (
        {**LOGIN, "cert_file": "{}/open.pem", "key_file": "{}/other.pem"},
        ["kafka_key_file: its key is not that of {}/open.pem"],
    ),
    "a certificate without a key": (
        {**LOGIN, "cert_file": "{}/authority.pem"},
        ["kafka_cert_file: {}/authority.pem can't be used with its key"],
    ),
    "a sealed key without a password": (
        {**LOGIN, "cert_file": "{}/sealed.pem"},
        ["kafka_key_password: it does not open {}/sealed.pem"],
    ),
    "a sealed key with a wrong password": (
        {**LOGIN, "cert_file": "{}/sealed.pem", "key_password": PASSWORD},
        ["kafka_key_password: it does not open {}/sealed.pem"],
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_can_not_be_used(authority: Authority, case: str) -> None:
    settings, says = MISTAKES[case]
    folder = str(authority.folder)
    placed = {
        name: value.replace("{}", folder) if isinstance(value, str) else value
        for name, value in settings.items()
    }
    with pytest.raises(InvalidSettings) as caught:
        client_arguments("kafka:1", security(**placed))
    lines = str(caught.value).splitlines()[1:]
    assert len(lines) == len(says)
    for line, beginning in zip(lines, says, strict=True):
        assert line.startswith(f"- {beginning.replace('{}', folder)}"), line
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("brokers", ["kafka:x", "kafka:1,other:y", "[::1]:z"])
def test_an_address_that_is_none(brokers: str) -> None:
    with pytest.raises(InvalidSettings, match="- brokers: ") as caught:
        faust_app(orders(), settings=Settings(brokers=brokers))
    assert brokers in str(caught.value)


def test_secrets_are_shown_by_nothing() -> None:
    secrets = {"kafka_password": PASSWORD, "kafka_key_password": KEY_PASSWORD}
    known = Settings(**secrets, kafka_username=USER)
    topic = KafkaTopic("payments", "bank:1", security=KafkaSecurity(**secrets))
    with pytest.raises(ValidationError) as caught:
        KafkaSecurity(kafka_password={"is": PASSWORD})  # type: ignore[arg-type]
    shown = f"{known!r} {known} {known.model_dump()} {known.model_dump_json()} {topic!r}"
    shown += f"{caught.value}"
    assert USER in shown
    assert not any(secret in shown for secret in secrets.values())


def test_no_secret_is_a_flag() -> None:
    types = {name: str(field.annotation) for name, field in Settings.model_fields.items()}
    secrets = {name for name, kind in types.items() if "SecretStr" in kind}
    assert secrets >= {"kafka_password", "kafka_key_password"}
    flags = {flag.name for command in main.commands.values() for flag in command.params}
    assert "kafka_password_file" in flags
    # The URL of a database need have no password; one that has comes from the environment.
    assert flags & secrets == {"store"}


def test_other_brokers_are_not_sent_what_the_worker_logs_in_with() -> None:
    worker = Settings(brokers="ours:1", kafka_username=USER, kafka_password=SecretStr(PASSWORD))
    theirs = KafkaTopic("payments", "bank:1").of_worker(worker)
    assert (theirs.brokers, theirs.security) == ("bank:1", None)
    ours = KafkaTopic("payments").of_worker(worker)
    assert (ours.brokers, ours.security) == ("ours:1", worker)


def test_every_client_is_made_of_these_arguments() -> None:
    made = 0
    for path in (path for each in PACKAGES for path in (ROOT / each).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in ("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"):
                assert isinstance(node, ast.Call)
                given = [ast.unparse(each.value) for each in node.keywords if each.arg is None]
                assert any("client_arguments(" in each for each in given), f"{path}: {name}"
                made += 1
    assert made >= 4
