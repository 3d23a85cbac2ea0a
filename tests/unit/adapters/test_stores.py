"""Which store settings name, and with which password."""

from pathlib import Path

import pytest

from streamwf.adapters.stores import named_store, store_of
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
