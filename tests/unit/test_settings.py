"""Settings: a flag goes before the environment, that before code, that before the default."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from streamwf import Settings
from streamwf.errors import InvalidSettings
from streamwf.settings import load

#: A value for each source, of fields with one name and of those with several in the environment.
FIELDS = {
    "partitions": ("STREAMWF_PARTITIONS", 1, "2", 3, 8),
    "app_id": ("STREAMWF_APP_ID", "flag", "environment", "code", None),
    "topic_prefix": ("STREAMWF_TOPIC_PREFIX", "flag", "environment", "code", ""),
    "data_dir": ("STREAMWF_DATA_DIR", Path("f"), "e", Path("c"), Path(".streamwf")),
    "brokers": ("STREAMWF_BROKERS", "flag:1", "env:1", "code:1", "127.0.0.1:9092"),
    "adapters": ("STREAMWF_ADAPTERS", "kafka", "memory", "kafka", "sqlite"),
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BROKERS", "WORKFLOW_ADAPTERS", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for field in Settings.model_fields:
        monkeypatch.delenv(f"STREAMWF_{field.upper()}", raising=False)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("by_flag", [False, True])
@pytest.mark.parametrize("by_environment", [False, True])
@pytest.mark.parametrize("by_code", [False, True])
def test_precedence(
    monkeypatch: pytest.MonkeyPatch, field: str, by_flag: bool, by_environment: bool, by_code: bool
) -> None:
    name, flag, environment, code, default = FIELDS[field]
    # What is given in code is written before the environment is known.
    given = Settings(**{field: code}) if by_code else None
    if by_environment:
        monkeypatch.setenv(name, environment)
    found = getattr(load({field: flag} if by_flag else {field: None}, given), field)
    expected = default
    if by_code:
        expected = code
    if by_environment:
        expected = environment
    if by_flag:
        expected = flag
    assert str(found) == str(expected)


def test_code_gives_way_even_where_the_environment_was_there_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAMWF_PARTITIONS", "2")
    code = Settings(partitions=3)
    assert code.partitions == 3
    assert load(code=code).partitions == 2


def test_the_environment_of_other_programs_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", "kafka:9092")
    monkeypatch.setenv("WORKFLOW_ADAPTERS", "kafka")
    settings = load()
    assert (settings.brokers, settings.adapters) == ("kafka:9092", "kafka")
    assert load({"brokers": "flag:1"}).brokers == "flag:1"
    monkeypatch.setenv("STREAMWF_BROKERS", "own:9092")
    assert load().brokers == "own:9092"


def test_each_source_keeps_what_the_others_do_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWF_PARTITIONS", "2")
    settings = load({"web_port": 7}, Settings(app_id="mine"))
    assert (settings.partitions, settings.web_port, settings.app_id) == (2, 7, "mine")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.5", 0.5), ("5", 5), ("250ms", 0.25), ("10s", 10), ("2m", 120), ("PT2S", 2)],
)
def test_durations_as_people_write_them(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: float
) -> None:
    monkeypatch.setenv("STREAMWF_SHUTDOWN_GRACE", text)
    assert load().shutdown_grace == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"partitions": 0}, "partitions: Input should be greater than or equal to 1"),
        ({"partitions": "many"}, "partitions: Input should be a valid integer"),
        ({"app_id": "my app"}, "app_id: String should match pattern"),
        ({"adapters": "paper"}, "'memory', 'sqlite', 'sql', 'redis' or 'kafka'"),
        ({"log_level": "loud"}, "log_level: String should match pattern"),
        ({"web_port": 70_000}, "web_port: Input should be less than or equal to 65535"),
        ({"nonsense": 1}, "nonsense: Extra inputs are not permitted"),
    ],
)
def test_what_can_not_be_used(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSettings, match="The settings can't be used") as caught:
        load(flags)
    assert says in str(caught.value)


def test_all_mistakes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWF_PARTITIONS", "none")
    monkeypatch.setenv("STREAMWF_THREADS", "0")
    with pytest.raises(InvalidSettings) as caught:
        load()
    assert [line[2:].split(":")[0] for line in str(caught.value).splitlines()[1:]] == [
        "partitions",
        "threads",
    ]


def test_a_mistake_of_each_source_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMWF_PARTITIONS", "none")
    with pytest.raises(InvalidSettings) as caught:
        load({"threads": 0})
    assert "partitions" in str(caught.value)
    assert "threads" in str(caught.value)


def test_every_field_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())
