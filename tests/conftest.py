"""The broker that Kafka tests share, and what becomes of them when there is none.

It is found before the first test runs, because fetching it may take longer than a test is given.
Kafka tests are skipped only on request, STREAMWF_SKIP_KAFKA=1; without a broker they fail with
the message that says what to install.
"""

import faulthandler
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from streamwf.adapters.kafka_jars import kafka_runtime
from streamwf.adapters.local_kafka import Broker, LocalKafka, find_broker
from streamwf.errors import StreamwfError
from tests.databases import (  # noqa: F401
    mariadb,
    mariadb_url,
    own_mariadb,
    own_postgres,
    own_redis,
    postgres,
    postgres_url,
    redis,
    redis_url,
    sqlite_url,
)

SKIP_REQUESTED = os.environ.get("STREAMWF_SKIP_KAFKA") == "1"
#: Fixtures that start a broker of their own.
OWN_BROKERS = ("own_kafka", "secure_kafka", "guarded_kafka")
KAFKA_TESTS = Path(__file__).parent / "kafka"
GRACE_SECONDS = 60
#: Folders of former runs are deleted at the end, which may be many.
END_SECONDS = 300


@dataclass
class KafkaTests:
    """What the session knows of its Kafka tests."""

    broker: Broker | None = None
    failure: StreamwfError | None = None


#: Where processes that share the tests find the broker that was started for all of them.
SHARED_BROKER = "STREAMWF_TEST_BROKER"

STATE = pytest.StashKey[KafkaTests]()
OPEN = pytest.StashKey[ExitStack]()
TERMINAL = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        # Processes that share the tests are not to hear of Ctrl-C; those of tests are.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[STATE] = KafkaTests()
    config.stash[OPEN] = ExitStack()
    # Taken before tests' output is captured.
    config.stash[TERMINAL] = os.dup(2)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Processes that share the tests share a broker, which is there before they are."""
    config = session.config
    shares = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if shares:
        # They have to find the same tests, in the same order, and some come of sets.
        os.environ["PYTHONHASHSEED"] = "0"
    if shares and not SKIP_REQUESTED and not config.option.collectonly:
        state = config.stash[STATE]
        # Whatever is wrong, each of them finds it out for itself.
        with suppress(StreamwfError):
            state.broker = config.stash[OPEN].enter_context(find_broker(say=print))
            os.environ[SHARED_BROKER] = state.broker.bootstrap
            kafka_runtime(say=print)


def pytest_unconfigure(config: pytest.Config) -> None:
    # The process ends now, and is watched until it has.
    config.stash[OPEN].close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    return ByFile(config, log)


class ByFile(LoadFileScheduling):  # type: ignore[misc]
    """Who ends in the midst of a test is not followed by another one that tries the same test."""

    def remove_node(self, node: Any) -> str | None:
        units = self.assigned_work[node].values()
        unfinished = ((unit, test) for unit in units for test, done in unit.items() if not done)
        unit, crashed = next(unfinished, (dict[str, bool](), None))
        if crashed is not None:
            unit[crashed] = True
        super().remove_node(node)
        return crashed


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # First, so that `-m kafka` finds the marks.
    for item in items:
        if needs_kafka(item):
            item.add_marker("kafka")
            if SKIP_REQUESTED:
                item.add_marker(pytest.mark.skip(reason="STREAMWF_SKIP_KAFKA=1"))


def needs_kafka(item: pytest.Item) -> bool:
    return (
        item.get_closest_marker("kafka") is not None
        or KAFKA_TESTS in item.path.parents
        or asks_for(item, "kafka")
        or asks_for(item, "own_kafka")
    )


def asks_for(item: pytest.Item, fixture: str) -> bool:
    """Whether a test has the fixture, or the acceptance suite runs it on the host of that name."""
    callspec = getattr(item, "callspec", None)
    hosted = callspec is not None and callspec.params.get("host") == fixture
    return hosted or fixture in getattr(item, "fixturenames", [])


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    state = session.config.stash[STATE]
    # Who only shares out the tests has none.
    items = getattr(session, "items", [])
    tests = [item for item in items if item.get_closest_marker("kafka")]
    with ExitStack() as stack:
        if not SKIP_REQUESTED and not session.config.option.collectonly:
            try:
                if any(asks_for(test, "kafka") for test in tests):
                    state.broker = _shared_broker() or stack.enter_context(find_broker(say=print))
                if any(asks_for(test, name) for test in tests for name in OWN_BROKERS):
                    kafka_runtime(say=print)
            except StreamwfError as failure:
                state.failure = failure
        return (yield)


def _shared_broker() -> Broker | None:
    address = os.environ.get(SHARED_BROKER)
    return Broker(address, "KAFKA_BROKERS") if address else None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    # pytest-timeout raises in the test, and what waits in a callback of an event loop, or in C,
    # never hears of it. The process ends then, and those that share the tests go on without it.
    with _watched(item.config, _timeout_of(item) + GRACE_SECONDS):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    # The timeout of a test ends when it fails, and what a failed test left running may never end.
    with _watched(item.config, GRACE_SECONDS):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # A thread that was left behind keeps a process from ending.
    _end_after(session.config, END_SECONDS)


def _timeout_of(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    given = marker.args[0] if marker and marker.args else item.config.getini("timeout")
    return float(given)


@contextmanager
def _watched(config: pytest.Config, seconds: float) -> Iterator[None]:
    _end_after(config, seconds)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _end_after(config: pytest.Config, seconds: float) -> None:
    """Show where each thread is, and end the process, unless it comes to something before."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[TERMINAL])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    state = config.stash[STATE]
    reports = [report for found in terminalreporter.stats.values() for report in found]
    marked = [report for report in reports if "kafka" in getattr(report, "keywords", ())]
    count = len({report.nodeid for report in marked})
    if count and SKIP_REQUESTED:
        terminalreporter.write_line(
            f"Kafka: {count} tests skipped, because STREAMWF_SKIP_KAFKA=1 asks for it;"
            " `make test` runs them.",
            yellow=True,
        )
    elif count and state.broker:
        terminalreporter.write_line(
            f"Kafka: {count} tests, broker {state.broker.bootstrap} ({state.broker.rung})"
        )


@pytest.fixture(scope="session")
def kafka(pytestconfig: pytest.Config) -> str:
    """The address of the session's broker. Topics outlive a test: name them after it."""
    state = pytestconfig.stash[STATE]
    if state.failure:
        raise state.failure
    assert state.broker
    return state.broker.bootstrap


@pytest.fixture
def own_kafka(pytestconfig: pytest.Config) -> Iterator[LocalKafka]:
    """A started broker of the test's own, to be stopped, killed and started again."""
    failure = pytestconfig.stash[STATE].failure
    if failure:
        raise failure
    with LocalKafka() as broker:
        yield broker
