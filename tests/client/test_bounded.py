"""Each call of a client ends in time, if it is told so."""

import asyncio
from datetime import timedelta

import pytest

from streamwf import Client, State
from streamwf.adapters.web import NoPeers, application, serve
from streamwf.cli.serving import free_port
from streamwf.errors import DeadlineExceeded, RunNotFound, WorkerUnreachable
from streamwf.views import Filter
from tests.cli.sample import Parcel, parcels
from tests.support import settle
from tests.web.harness import Order, Status, running, silent

SOON = timedelta(milliseconds=50)
LATER = timedelta(seconds=30)


@pytest.fixture
def nobody() -> int:
    """A port that nobody listens on."""
    return free_port("127.0.0.1")


async def test_a_worker_that_does_not_answer_is_not_waited_for() -> None:
    async with silent() as url, Client.over_http(url) as client:
        in_time = client.within(SOON)
        with pytest.raises(DeadlineExceeded, match=r"`trigger` took longer than 0\.05 s\. It may"):
            await in_time.trigger(parcels, "p-1", Parcel())
        with pytest.raises(DeadlineExceeded, match="`latest`"):
            await in_time.run(parcels, "p-1").pause()
        with pytest.raises(DeadlineExceeded, match="`find`"):
            [run async for run in in_time.list(parcels)]
        with pytest.raises(DeadlineExceeded, match=r"`count` took longer than 0\.01 s"):
            await in_time.within(timedelta(milliseconds=10)).count(Filter())


async def test_what_comes_in_time_is_as_ever() -> None:
    async with running() as worker, worker.client() as client:
        in_time = client.within(LATER)
        run_id = await in_time.trigger(worker.workflow, "o-1", Order(price=3))
        # Either of the two knows what the other has requested a moment ago.
        picked = await client.await_(worker.workflow, run_id, Status.PICKED, timeout=LATER)
        assert picked.run_id == run_id
        with pytest.raises(RunNotFound):
            await in_time.get(worker.workflow, "no-such-run")


async def test_await_has_a_timeout_of_its_own() -> None:
    async with running() as worker, worker.client() as client:
        run_id = await client.trigger(worker.workflow, "o-1", Order(price=3), wait=True)
        in_no_time = client.within(timedelta(0))
        with pytest.raises(DeadlineExceeded, match=r"took longer than 0\.05 s"):
            await in_no_time.await_(worker.workflow, run_id, timeout=SOON)
        worker.gate.set()
        ended = await in_no_time.await_(worker.workflow, run_id)
        assert ended.state is State.COMPLETED


async def test_a_worker_that_is_away_is_waited_for_if_it_may_be(nobody: int) -> None:
    url = f"http://127.0.0.1:{nobody}"
    async with Client.over_http(url) as client:
        with pytest.raises(WorkerUnreachable):
            await client.count()
    async with Client.over_http(url, absence=SOON) as client:
        with pytest.raises(WorkerUnreachable):
            await client.count()
    async with Client.over_http(url, absence=LATER) as client, running() as worker:
        asked = asyncio.create_task(client.trigger(worker.workflow, "o-1", Order(price=1)))
        await settle()
        assert not asked.done()
        app = application(worker.operations, NoPeers(), lambda: None)
        server = await serve(app, "127.0.0.1", nobody)
        picked = await client.await_(worker.workflow, await asked, Status.PICKED)
        assert picked.foreign_id == "o-1"
        await server.stop()


async def test_no_absence_outlasts_a_deadline(nobody: int) -> None:
    client = Client.over_http(f"http://127.0.0.1:{nobody}", absence=LATER).within(SOON)
    async with client:
        with pytest.raises(DeadlineExceeded):
            await client.pause("some-run")
