"""The trace of a run on Kafka: triggered at one worker, begun at another, ended by the first."""

import json
from pathlib import Path

import aiohttp
import pytest

from streamwf.adapters.kafka.topics import partition_of
from streamwf.adapters.web.forwarding import LOCAL
from tests.kafka.cluster import PARTITIONS, Cluster, Worker, until
from tests.tracing import Json, Spans, outcome

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


def spans_in(file: Path) -> Spans:
    def read() -> list[Json]:
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    return Spans(read)


def told(span: Json) -> str:
    """Its name, what became of it, and where it was. Which attempt it was depends on the time."""
    became = f" {outcome(span)}" if outcome(span) else ""
    return f"{span['name']}{became} at {span['resource']['attributes']['service.name']}"


def appended(spans: Spans, name: str) -> int:
    """How many events that spans of that name have led to are in the log."""
    ids = {span["context"]["span_id"] for span in spans.named(name)}
    return sum(span["parent_id"] in ids for span in spans.named("append orders"))


async def shards_of(worker: Worker) -> set[int]:
    """The shards that a worker works at itself."""
    async with (
        aiohttp.ClientSession(worker.url, headers={LOCAL: "1"}) as session,
        session.get("/api/v1/roles") as answer,
    ):
        roles = (await answer.json())["roles"]
    return {role["shard"] for role in roles if role["health"] != "stopped"}


async def shared(one: Worker, other: Worker) -> set[int]:
    """The shards of the other, once all have one owner."""
    theirs: set[int] = set()

    async def known() -> bool:
        own = await shards_of(one)
        theirs.clear()
        theirs.update(await shards_of(other))
        return len(own) + len(theirs) == len(own | theirs) == PARTITIONS and bool(own and theirs)

    await until(known, "the shards are shared")
    return theirs


@pytest.mark.timeout(240)
async def test_a_run_is_followed_over_two_workers(cluster: Cluster) -> None:
    file = cluster.folder / "spans"
    spans = spans_in(file)
    traced = {"SPANS": str(file), "FLOWS": "flows_traced"}
    first = cluster.worker("first", **traced).start()
    second = cluster.worker("second", **traced, CLUMSY="1").start()
    for worker in (first, second):
        await until(lambda worker=worker: worker.says("worker_listens") > 0, worker.name)
    theirs = await shared(first, second)
    names = (f"order-{n}" for n in range(1_000))
    foreign_id = next(name for name in names if partition_of(name, PARTITIONS) in theirs)

    async with aiohttp.ClientSession(first.url) as session:
        answer = await session.post(
            "/api/v1/workflows/orders/runs?wait=false",
            json={"foreign_id": foreign_id, "object": {}},
            headers={"traceparent": f"00-{TRACE_ID}-{CALLER}-01"},
        )
        assert answer.status == 202
    # An append's span ends once the event is in the log.
    await until(lambda: appended(spans, "step orders.PICKED") > 0, "a step that has failed")
    second.kill()
    await until(lambda: appended(spans, "hook orders.on_complete") > 0, "the hook")
    assert await cluster.completed() == 1
    assert list(dict.fromkeys(spans.shown(note=told).splitlines())) == [
        "trigger orders at first",
        "  append orders at first",
        "  step orders.CREATED (moved PICKED) at second",
        "    append orders at second",
        "    step orders.PICKED (failed: ValueError) at second",
        "      append orders at second",
        "    step orders.PICKED (moved PACKED) at first",
        "      append orders at first",
        "      step orders.PACKED (moved SHIPPED) at first",
        "        append orders at first",
        "        hook orders.on_complete (hooked) at first",
        "          append orders at first",
    ]
    # What has become of the last step, and what the run tells its hook of it.
    assert appended(spans, "step orders.PACKED") == 2
    assert {span["context"]["trace_id"] for span in spans.all()} == {f"0x{TRACE_ID}"}
    assert spans.one("trigger orders")["parent_id"] == f"0x{CALLER}"
    attributes = spans.named("append orders")[0]["attributes"]
    assert attributes["messaging.destination.name"] == cluster.topics.events
