"""Which store settings name, and with which password."""

from pathlib import Path

import pytest

from streamwf.adapters.stores import named_store, open_stores, store_of
from streamwf.errors import InvalidSettings
from streamwf.settings import Settings, load

URL = "postgresql://me@db/orders"


def test_the_password_of_its_own_setting() -> None:
    settings = load({"store": URL, "store_password": "s3 cret/@"})
    assert store_of(settings) == ("postgresql://me:s3 cret%2F%40@db/orders", "store")


def test_the_password_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    settings = load({"database_url": URL, "store_password_file": file})
    assert named_store(settings) == ("postgresql://me:s3cret@db/orders", "database_url")


def test_redis_has_its_password_where_there_is_no_user() -> None:
    settings = load({"store": "redis://cache:6379/2", "store_password": "s3cret", "log": "kafka"})
    assert store_of(settings) == ("redis://:s3cret@cache:6379/2", "store")


def test_redis_by_its_own_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    monkeypatch.setenv("WORKFLOW_ADAPTERS", "redis")
    assert store_of(load({"log": "kafka"})) == ("redis://cache", "redis_url")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"store": "redis://:s3cret@cache"},
            r"store: Redis keeps rows and has no log.*--log kafka",
        ),
        ({"store": "rocksdb:///rows"}, r"store: RocksDB keeps rows and has no log.*--log kafka"),
        ({"adapters": "redis", "redis_url": "redis://cache"}, r"redis_url: Redis keeps rows"),
        ({"adapters": "redis", "log": "kafka"}, r"redis_url: say in REDIS_URL"),
        ({"store": "memory", "log": "kafka"}, r"store: memory keeps nothing of a log in Kafka"),
    ],
)
def test_a_log_that_can_not_lie_there(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said) as raised:
        store_of(load(given))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("url", ["rocksdb://rows", "rocksdb:///"])
async def test_what_names_no_directory(url: str) -> None:
    with pytest.raises(InvalidSettings, match="store: names no directory"):
        async with open_stores(url, "store", load({"log": "kafka"})):
            raise AssertionError


def test_none_is_named() -> None:
    assert named_store(Settings()) is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"store": "postgresql://me:s3cret@db/orders", "store_password": "other"}, "store has one"),
        ({"store": URL, "store_password": "s3cret", "store_password_file": "x"}, "leave one"),
        ({"store": URL, "store_password_file": "nowhere"}, "nowhere can't be read"),
        ({"store": "s3cret", "store_password": "other"}, "store: is no URL"),
    ],
)
def test_mistakes(given: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said) as raised:
        named_store(load(given))
    assert "s3cret" not in str(raised.value)
