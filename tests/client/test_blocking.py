"""The client for code that can't await does what the other one does."""

import asyncio
import inspect
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from queue import Queue

import pytest

from streamwf import Client, State, SyncClient
from streamwf.blocking import SyncHandle
from streamwf.client import Handle
from streamwf.errors import ClientClosed, DeadlineExceeded, RunInProgress, RunNotFound
from streamwf.views import Filter
from tests.cli.conftest import served
from tests.cli.sample import Parcel, Status, parcels

PATIENCE = 60.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(parcels) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[SyncClient]:
    with Client.over_http(url).sync() as client:
        yield client


@pytest.mark.parametrize(("waits", "blocks"), [(Client, SyncClient), (Handle, SyncHandle)])
def test_nothing_that_can_be_awaited_is_missing(waits: type, blocks: type) -> None:
    kinds = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    for name, method in inspect.getmembers(waits, inspect.isfunction):
        if not name.startswith("_") and any(kind(method) for kind in kinds) and name != "close":
            assert inspect.unwrap(getattr(blocks, name)) is method
    assert "close" in vars(SyncClient)


def test_a_run_from_trigger_to_end(client: SyncClient) -> None:
    run_id = client.trigger(parcels, "sync-1", Parcel(weight=3))
    ended = client.await_(parcels, run_id)
    assert (ended.status, ended.state, ended.object) == (
        Status.THERE,
        State.COMPLETED,
        Parcel(weight=3),
    )
    assert client.get(parcels, run_id) == ended
    assert client.run(parcels, "sync-1").get() == ended
    assert client.run(parcels, "sync-1").foreign_id == "sync-1"
    assert client.history(run_id).events[-1].status == "THERE"
    assert [view.name for view in client.workflows().workflows] == ["parcels"]


def test_runs_are_given_one_by_one(client: SyncClient) -> None:
    for number in range(3):
        client.trigger(parcels, f"one-by-one-{number}", Parcel(waits=True), wait=True)
    listed = [run.foreign_id for run in client.list(parcels, prefix="one-by-one-")]
    assert listed == [f"one-by-one-{number}" for number in range(3)]
    # Who stops asking ends it.
    assert next(client.list(parcels, prefix="one-by-one-")).foreign_id == "one-by-one-0"
    which = Filter(workflow="parcels", prefix="one-by-one-")
    assert sum(part.changed for part in client.bulk("cancel", which)) == 3


def test_errors_are_those_of_the_other_client(client: SyncClient) -> None:
    run_id = client.trigger(parcels, "sync-2", Parcel(waits=True), wait=True)
    with pytest.raises(RunInProgress) as refused:
        client.trigger(parcels, "sync-2", Parcel(), wait=True)
    assert refused.value.run_id == run_id
    with pytest.raises(RunNotFound):
        client.get(parcels, "no-such-run")


def test_threads_share_a_client(client: SyncClient) -> None:
    told: Queue[object] = Queue()

    def start(number: int) -> None:
        run_id = client.trigger(parcels, f"thread-{number}", Parcel())
        told.put(client.await_(parcels, run_id).state)

    threads = [threading.Thread(target=start, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    assert [told.get(timeout=PATIENCE) for _ in threads] == [State.COMPLETED] * 8


def test_a_client_can_be_used_where_a_loop_runs(url: str) -> None:
    """As in a notebook, whose cells run on one."""

    async def cell() -> int:
        with Client.over_http(url).sync() as client:
            return client.count(Filter(foreign_id="nobody"))

    assert asyncio.run(cell()) == 0


def test_a_call_has_its_time(client: SyncClient) -> None:
    with pytest.raises(DeadlineExceeded, match="`get` took longer than"):
        client.within(timedelta(0)).get(parcels, "some-run")


@pytest.fixture
def later(client: SyncClient) -> str:
    """A run that is not to start today."""
    far = datetime(2100, 1, 1, tzinfo=UTC)
    return client.trigger(parcels, "later", Parcel(), start_at=far, key="later", wait=True)


def test_ctrl_c_interrupts_a_call_and_leaves_the_client_as_it_was(
    client: SyncClient, later: str
) -> None:
    threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        client.await_(parcels, later)
    assert client.get(parcels, later).status is Status.PACKED


def test_a_closed_client_says_so(url: str, later: str) -> None:
    client = Client.over_http(url).sync()
    listed = client.list(parcels)
    waiting: Queue[BaseException] = Queue()

    def wait() -> None:
        try:
            client.await_(parcels, later)
        except ClientClosed as error:
            waiting.put(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.close()
    client.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    for call in (lambda: client.get(parcels, "some-run"), lambda: next(listed)):
        with pytest.raises(ClientClosed):
            call()


def test_a_forked_process_is_told_to_make_its_own(url: str) -> None:
    client = Client.over_http(url).sync()
    child = os.fork()
    if child == 0:
        try:
            client.count()
        except ClientClosed:
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert client.count(Filter(foreign_id="nobody")) == 0
    client.close()
