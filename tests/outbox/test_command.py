"""What keeps `streamwf relay` from starting is told in words, without secrets."""

import os
import subprocess
import sys

import pytest
from sqlalchemy import make_url

from tests.outbox.books import tables

RELAY = (sys.executable, "-m", "streamwf.cli", "relay", "tests.outbox.books:books")

#: Nothing listens there.
BROKERS = "127.0.0.1:9"


def told(*arguments: str, **environment: str) -> str:
    """What a relay says that can't start."""
    bare = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [*RELAY, "--brokers", BROKERS, *arguments],
        env={**bare, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_no_database_is_named() -> None:
    assert "Give it with --store or STREAMWF_STORE" in told()


def test_its_url_is_none() -> None:
    assert "store: is no URL of a database" in told("--store", "s3cret")
    assert "s3cret" not in told("--store", "s3cret")


def test_the_database_has_no_outbox(sqlite_url: str) -> None:
    assert "no table streamwf_outbox in the database of store" in told("--store", sqlite_url)


def test_it_does_not_answer() -> None:
    said = told(DATABASE_URL="postgresql://me:s3cret@127.0.0.1:9/shop")
    assert "The database shop at 127.0.0.1:9 can't be reached" in said
    assert "database_url" in said
    assert "s3cret" not in said


def test_its_name_does_not_resolve() -> None:
    said = told("--store", "postgresql://me:s3cret@no-such-host.invalid/shop")
    assert "no-such-host.invalid can't be reached" in said
    assert "s3cret" not in said


def test_the_password_is_wrong(postgres_url: str) -> None:
    url = make_url(postgres_url).set(password="s3cret").render_as_string(hide_password=False)
    said = told(STREAMWF_STORE=url)
    assert "password authentication failed" in said
    assert "s3cret" not in said


@pytest.mark.timeout(60)
async def test_no_broker_answers(sqlite_url: str) -> None:
    async with tables(sqlite_url):
        assert "No Kafka broker answers at 127.0.0.1:9" in told("--store", sqlite_url)
