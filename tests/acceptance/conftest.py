"""The suite on every host, and what it says of its results.

`--host NAME` runs it on that one alone, which may be one that it does not run on otherwise.
`--results FILE` writes what each test shows and how it ended. It is not written after a run of a
part of the suite, so that the file always tells of all of it.
"""

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.embedded_host import embedded_host
from tests.acceptance.flows import WORKFLOWS
from tests.acceptance.flows.connected import FEED
from tests.acceptance.hosts import Host
from tests.acceptance.kafka_host import Workers, kafka_host
from tests.acceptance.process_host import running
from tests.acceptance.rows import HOSTS, OTHERS, each_test, hosts_of, results
from tests.acceptance.signs import Signs
from tests.acceptance.store_host import Stored, store_host
from tests.databases import mariadb_database, postgres_database

HERE = Path(__file__).parent
OUTCOMES = pytest.StashKey[dict[tuple[str, str], str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--host", choices=(*HOSTS, *OTHERS), help="run the acceptance suite on it")
    parser.addoption("--results", metavar="FILE", help="write the acceptance suite's results here")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "host" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--host", None)
        metafunc.parametrize("host", hosts_of(metafunc.function, asked), indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    callspec = getattr(item, "callspec", None)
    if callspec is not None and "host" in callspec.params and HERE in item.path.parents:
        test = f"{item.path.name}::{getattr(item, 'originalname', item.name)}"
        told = item.config.stash[OUTCOMES].setdefault((test, callspec.params["host"]), "passed")
        if told == "passed" and report.outcome != "passed":
            item.config.stash[OUTCOMES][test, callspec.params["host"]] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    target = session.config.getoption("--results", None)
    if target is None:
        return
    found = results(session.config.stash[OUTCOMES])
    missing = [told["test"] for told in each_test(found) if None in told["hosts"].values()]
    if missing:
        print(f"\n{target} is not written: it is of the whole suite, without {missing}")
        session.exitstatus = pytest.ExitCode.USAGE_ERROR
        return
    Path(target).write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


# The processes of the session on each host, which the first test starts that needs them.


@pytest.fixture(scope="session")
def on_kafka(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with running(Workers(kafka, tmp_path_factory.mktemp("workers"))) as made:
        yield made


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    folder = tmp_path_factory.mktemp("sqlite")
    with running(Stored(f"sqlite:///{folder}/acceptance.db", folder)) as made:
        yield made


@pytest.fixture(scope="session")
def on_postgresql(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with (
        postgres_database(postgres) as url,
        running(Stored(url, tmp_path_factory.mktemp("postgresql"))) as made,
    ):
        yield made


@pytest.fixture(scope="session")
def on_mariadb(mariadb: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    with (
        mariadb_database(mariadb) as url,
        running(Stored(url, tmp_path_factory.mktemp("mariadb"))) as made,
    ):
        yield made


@pytest.fixture
async def host(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Host]:
    """A host with all workflows of this suite. In the end its rows are what its log leads to."""
    made: AbstractAsyncContextManager[Host]
    if request.param == "embedded":
        feed = tmp_path / "feed"
        monkeypatch.setenv(FEED, str(feed))
        made = embedded_host(WORKFLOWS, feed)
    else:
        processes = request.getfixturevalue(f"on_{request.param}")
        if request.param == "kafka":
            made = kafka_host(processes, WORKFLOWS)
        else:
            made = store_host(request.param, processes, WORKFLOWS)
    async with made as host:
        yield host
        assert await host.verify() == []


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A foreign id that no other test has."""
    test = getattr(request.node, "originalname", request.node.name).removeprefix("test_")
    return f"{test[:60]}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
def signs(tmp_path: Path) -> Signs:
    """What steps and the test tell each other."""
    return Signs(tmp_path)
