"""Connectors over HTTP, whose partitions several workers read."""

from collections.abc import Callable

import pytest

from streamwf import State, Workflow
from streamwf.errors import ConnectorNotFound, NotReady
from streamwf.sources import Message, Start
from tests.embedded.feeds import Feed
from tests.support import eventually
from tests.web.harness import Order, Status, Worker, nowhere, running
from tests.web.harness import SplitPeers as Peers

CONNECTORS = "/api/v1/workflows/orders/connectors"


def declaring(feed: Feed) -> Callable[[Workflow[Order, Status]], None]:
    def declare(workflow: Workflow[Order, Status]) -> None:
        @workflow.connector(feed, name="shop")
        async def shop(message: Message) -> Start[Order, Status]:
            return Start(message.json(), Order(price=1))

    return declare


async def used(worker: Worker, count: int) -> list[dict[str, object]]:
    """What is told of the partitions, once so many messages are durably used."""

    async def look() -> list[dict[str, object]] | None:
        [view] = (await worker.get(CONNECTORS)).json["connectors"]
        done = sum(part["messages"] for part in view["partitions"])
        return view["partitions"] if done >= count else None

    found = await eventually(look)
    assert found is not None
    return found


async def test_a_connector_is_told_with_its_partitions() -> None:
    feed = Feed()
    async with running(declare=declaring(feed)) as worker:
        await feed.put("o-1", b"\xff")
        [part] = await used(worker, 2)
        [view] = (await worker.get(CONNECTORS)).json["connectors"]
        assert (view["name"], view["source"], view["declared"]) == ("shop", "feed", True)
        assert view["looking"]["state"] == "RUNNING"
        assert (part["partition"], part["position"]) == ("0", "1")
        assert (part["set_aside"], part["behind"]) == (1, 0)
        history = (await worker.get(f"/api/v1/runs/{part['run_id']}/history")).json
        assert [event["type"] for event in history["events"]][:2] == ["trigger", "repeated"]


async def test_what_several_workers_read_is_told_and_steered_as_one() -> None:
    urls: dict[str, str] = {}
    feeds = {"a": Feed("0"), "b": Feed("1")}
    async with (
        running(Peers("a", urls), declare=declaring(feeds["a"])) as a,
        running(Peers("b", urls), declare=declaring(feeds["b"])) as b,
    ):
        urls |= {"a": a.url, "b": b.url}
        await feeds["a"].put("a-1", partition="0")
        await feeds["b"].put("b-1", partition="1")
        assert [part["partition"] for part in await used(a, 2)] == ["0", "1"]
        async with b.client() as client:
            paused = await client.pause_connector(b.workflow, "shop", "full")
            assert [part.state for part in paused.partitions] == [State.PAUSED, State.PAUSED]
            resumed = await client.resume_connector(a.workflow, "shop")
            assert (resumed.state, len(resumed.partitions)) == ("running", 2)
            with pytest.raises(ConnectorNotFound):
                await client.pause_connector(a.workflow, "nope")


async def test_a_worker_that_does_not_answer_is_not_passed_over() -> None:
    urls = {"b": await nowhere()}
    async with running(Peers("a", urls), declare=declaring(Feed())) as a:
        told = (await a.get(CONNECTORS)).json
        assert told["missing"] == [urls["b"]]
        reply = await a.post(f"{CONNECTORS}/shop/pause")
        assert reply.status == 503
        assert reply.json["type"] == "urn:streamwf:error:NotReady"
        async with a.client() as client:
            with pytest.raises(NotReady):
                await client.connectors(a.workflow)


async def test_what_is_no_connector(worker: Worker) -> None:
    assert (await worker.get(CONNECTORS)).json == {"connectors": [], "missing": []}
    assert (await worker.post(f"{CONNECTORS}/nope/pause")).status == 404
    assert (await worker.post(f"{CONNECTORS}/nope/cancel")).status == 404
    assert (await worker.get("/api/v1/workflows/none/connectors")).status == 404
