"""More than a worker can do at a time: nothing is lost, nothing grows without end, and the group
stays as it is."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from io import BytesIO

import aiohttp
import pytest

from streamwf import Client, State
from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.topics import ensure_topics, partition_of
from streamwf.adapters.kafka.triggers import append_triggers
from streamwf.errors import RecordTooLarge
from streamwf.record import MAX_OFFSETS, decode_record
from streamwf.shard import MAX_QUEUED
from streamwf.views import MAX_BULK, Filter, Query, Trigger
from tests.kafka.cluster import PARTITIONS, Cluster, Worker, until
from tests.kafka.flows_load import Order, Status, orders

#: Runs that are paused at a time. The whole is 100,000.
PAUSED = int(os.environ.get("STREAMWF_PAUSED_RUNS", "10000"))

#: Megabytes that a worker with a full queue is far from.
MUCH = 700

#: What may wait for a runner beside a full queue: what was given out when there was room for one.
MORE = 100

#: Requests to one foreign id of each kind.
HOT = 1_000

SESSION = 6.0


async def started(cluster: Cluster) -> Worker:
    """A worker with all shards."""
    cluster.environment |= {"FLOWS": "flows_load", "GATE": str(cluster.folder / "gate")}
    await ensure_topics(["orders"], cluster.settings)
    worker = cluster.worker("only").start()
    await until(lambda: worker.says("shard_opened") == PARTITIONS, "all shards open")
    return worker


def names(shard: int, count: int, kind: str) -> list[str]:
    """Foreign ids of one shard."""
    every = (f"{kind}-{number}" for number in range(PARTITIONS * count * 2))
    found = [name for name in every if partition_of(name, PARTITIONS) == shard]
    return found[:count]


async def trigger(cluster: Cluster, foreign_ids: Iterable[str], item: str) -> int:
    triggers = (Trigger(foreign_id=name, object={"item": item}) for name in foreign_ids)
    return await append_triggers("orders", triggers, cluster.settings, lambda _: None)


async def measured(worker: Worker, name: str, labels: str = "") -> float:
    """The sum of a metric. labels: what they match, as a regular expression."""
    async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/metrics") as answer:
        text = await answer.text()
    found = re.findall(rf"^{name}\{{([^}}]*)\}} (\S+)$", text, re.M)
    return sum(float(value) for each, value in found if re.search(labels, each))


def megabytes(worker: Worker) -> float:
    assert worker.process is not None
    said = subprocess.check_output(["ps", "-o", "rss=", "-p", str(worker.process.pid)])
    return int(said) / 1024


@pytest.mark.timeout(240)
async def test_triggers_that_come_faster_than_steps_end_wait_in_the_table(cluster: Cluster) -> None:
    worker = await started(cluster)
    slow, quick = names(0, MAX_QUEUED + 7_000, "slow"), iter(names(1, 1_000, "quick"))
    await trigger(cluster, slow, "slow")

    async def all_read() -> bool:
        runs = await measured(worker, "streamwf_runs", 'state="(INITIATED|RUNNING)"')
        return runs == len(slow) and not await measured(worker, "streamwf_lag_events")

    await until(all_read, "all triggers are read", 120)
    # What waits can be steered.
    async with Client.over_http(worker.url) as client:
        last = await client.latest(orders, slow[-1])
        assert last is not None
        cancelled = await client.cancel(last.run_id, "it has waited for too long")
        assert cancelled.state is State.CANCELLED
    # Other shards go on, for longer than the group would wait for a worker that is silent.
    begun = time.monotonic()
    async with Client.over_http(worker.url) as client, aiohttp.ClientSession() as session:
        while time.monotonic() < begun + 1.5 * SESSION:
            run_id = await client.trigger(orders, next(quick), Order())
            await client.await_(orders, run_id, Status.DONE)
            async with session.get(f"{worker.url}/readyz") as answer:
                assert answer.status == 200
            assert await measured(worker, "streamwf_queue_depth") <= MAX_QUEUED + MORE
            assert megabytes(worker) < MUCH
    (cluster.folder / "gate").touch()

    async def all_done() -> bool:
        done = Filter(workflow="orders", prefix="slow-", state=[State.COMPLETED])
        async with Client.over_http(worker.url) as client:
            return await client.count(done) == len(slow) - 1

    await until(all_done, "all runs", 150)
    assert (worker.says("shard_closed"), worker.says("shard_opened")) == (0, PARTITIONS)
    assert megabytes(worker) < MUCH


def hot_requests(name: str) -> list[bytes]:
    """Requests of all kinds to one foreign id, as anybody appends them."""
    kinds: list[dict[str, object]] = [
        {"type": "trigger", "data": {"item": "waiting"}},
        {"type": "callback", "call": "tell", "data": 1},
        {"type": "pause", "reason": "wait"},
        {"type": "resume", "reason": "go on"},
    ]
    return [json.dumps({**kind, "subject": name}).encode() for _ in range(HOT) for kind in kinds]


@pytest.mark.timeout(240)
async def test_a_hot_key_holds_up_no_other(cluster: Cluster) -> None:
    worker = await started(cluster)
    hot, *others = names(2, 51, "key")
    async with Client.over_http(worker.url) as client:
        run_id = await client.trigger(orders, hot, Order(item="waiting"))
        await client.await_(orders, run_id, Status.WAITING)
        to = producer(cluster.settings)
        await to.start()
        try:
            pile = [(hot.encode(), value) for value in hot_requests(hot)]
            await append_batch(to, cluster.topics.events, 2, pile)
        finally:
            await to.stop()
        await trigger(cluster, others, "quick")

        async def others_done() -> bool:
            return await client.count(Filter(state=[State.COMPLETED])) == len(others)

        await until(others_done, "the others", 90)

        # Each callback has been heard, or was refused because a hundred waited.
        async def heard() -> bool:
            run = await client.get(orders, run_id)
            refused = await measured(worker, "streamwf_events_skipped_total", 'reason="full"')
            return run.state is State.RUNNING and run.object.told + refused == HOT

        await until(heard, "all callbacks", 90)
        in_progress = 'type="trigger",verdict="run_in_progress"'
        assert await measured(worker, "streamwf_events_total", in_progress) == HOT
        history = await client.history(run_id)
        assert history.truncated
        assert len(history.events) == MAX_OFFSETS
        last = await client.callback(orders, "tell", 0, run_id=run_id)
        assert last.outcome == "moved"
    await cluster.checkpointed()
    rows = [r for r in await cluster.records(cluster.topics.changelog) if r.key == hot.encode()]
    assert {len(decode_record(row.value).offsets) for row in rows[-5:]} == {MAX_OFFSETS}
    assert (await cluster.verify(orders)).differences == []
    assert worker.says("shard_closed") == 0


@pytest.mark.timeout(240)
async def test_what_is_too_large_is_refused_by_name_wherever_it_comes_from(
    cluster: Cluster,
) -> None:
    worker = await started(cluster)
    huge = {"item": "x" * 2_000_000}
    async with Client.over_http(worker.url) as client, aiohttp.ClientSession() as session:
        with pytest.raises(RecordTooLarge, match="limit is 1000000"):
            await client.trigger(orders, "by-client", Order.model_validate(huge))
        with pytest.raises(RecordTooLarge, match="limit is 1000000"):
            await client.trigger(orders, "by-client", Order(item="x" * 20_000_000))
        asked = {"foreign_id": "by-http", "object": huge}
        path = f"{worker.url}/api/v1/workflows/orders/runs"
        headers = {"content-type": "application/json"}
        async with session.post(
            path, data=BytesIO(json.dumps(asked).encode()), headers=headers
        ) as answer:
            assert answer.status == 413
            problem = await answer.json()
        assert problem["type"] == "urn:streamwf:error:RecordTooLarge"
        assert "max_record_bytes" in problem["detail"]
        pile = cluster.folder / "pile.jsonl"
        pile.write_text(json.dumps({**asked, "foreign_id": "by-cli"}))
        told = by_command("trigger", "orders", "--from", str(pile), "--url", worker.url)
        assert told.returncode == 1
        assert "The request has" in told.stdout + told.stderr
        # A producer asks nobody: the worker sets it aside, with why.
        by_producer = {"type": "trigger", "subject": "by-producer", "data": huge}
        await cluster.produce(json.dumps(by_producer).encode(), key=b"by-producer")

        async def buried() -> bool:
            letters = await cluster.records(cluster.topics.dead_letters)
            return any(b"limit is 1000000" in dict(each.headers)["reason"] for each in letters)

        await until(buried, "the dead letter")
        for name in ("by-client", "by-http", "by-cli", "by-producer"):
            assert await client.count(Filter(foreign_id=name)) == 0
        # What a step makes of its object pauses the run, with the object as it was before.
        run_id = await client.trigger(orders, "by-step", Order(item="huge"), wait=True)

        async def paused() -> bool:
            return (await client.get(orders, run_id)).state is State.PAUSED

        await until(paused, "the run is paused")
        run = await client.get(orders, run_id)
        assert run.error is not None
        assert run.error.type == "RecordTooLarge"
        assert "raise max_record_bytes" in run.error.message
        assert run.object.item == "huge"
        (cluster.folder / "gate").touch()
        await client.retry(run_id)
        await client.await_(orders, run_id, Status.DONE)
    assert worker.says("shard_closed") == 0


@pytest.mark.timeout(240)
async def test_what_is_as_large_as_can_be_is_kept(cluster: Cluster) -> None:
    worker = await started(cluster)
    async with Client.over_http(worker.url) as client:
        large = Order(item="waiting", note="n" * 990_000)
        run_id = await client.trigger(orders, "large", large)
        await client.await_(orders, run_id, Status.WAITING)
        await client.pause(run_id)
        for each in "xy":
            call = {
                "type": "callback",
                "subject": "large",
                "call": "tell",
                "data": each * 990_000,
            }
            await cluster.produce(json.dumps(call).encode(), key=b"large")

        async def one_is_full() -> bool:
            return await measured(worker, "streamwf_events_skipped_total", 'reason="full"') == 1

        await until(one_is_full, "no room for the second one")
        # A row of an object and a callback, each as large as a record may be.
        await cluster.checkpointed()
        assert (await cluster.verify(orders)).differences == []
        worker.kill()
        worker.wipe()
        worker.start()
        await until(lambda: worker.says("worker_listens") == 2, "it listens again")
    async with Client.over_http(worker.url) as client:
        assert (await client.get(orders, run_id)).object.note == large.note
        await client.resume(run_id)
        last = await client.callback(orders, "tell", 0, run_id=run_id)
        assert last.outcome == "moved"
        ended = await client.await_(orders, run_id, Status.DONE)
        assert (ended.object.told, ended.object.note) == (1, large.note)
    assert worker.says("shard_closed") == 0


def by_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamwf.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(600)
async def test_very_many_runs_are_paused_and_resumed(cluster: Cluster) -> None:
    worker = await started(cluster)
    paused = Filter(workflow="orders", state=[State.PAUSED])
    await trigger(cluster, (f"paused-{number:06}" for number in range(PAUSED)), "paused")

    async def count_is(asked: Filter, wanted: int) -> bool:
        async with Client.over_http(worker.url) as client:
            return await client.count(asked) == wanted

    await until(lambda: count_is(paused, PAUSED), "all are paused", 240)
    await cluster.checkpointed()
    worker.stop()
    opened = worker.says("shard_opened")
    begun = time.monotonic()
    worker.start()
    await until(lambda: worker.says("shard_opened") == opened + PARTITIONS, "open again")
    await until(lambda: worker.says("worker_listens") == 2, "it listens again")
    print(f"open again with {PAUSED:,} paused runs after {time.monotonic() - begun:.1f} s")
    async with Client.over_http(worker.url) as client:
        assert await client.count(paused) == PAUSED
        # None of them is looked at again for the start.
        assert await measured(worker, "streamwf_queue_depth") == 0
        assert await measured(worker, "streamwf_step_duration_seconds_count") == 0
        query = Query(workflow="orders", state=[State.PAUSED], order="-updated", limit=1_000)
        pages = set[str]()
        for _ in range(3):
            page = await client.find(query)
            pages |= {run.run_id for run in page.runs}
            query = query.model_copy(update={"cursor": page.cursor})
        assert len(pages) == min(3_000, PAUSED)
        (cluster.folder / "gate").touch()
        begun = time.monotonic()
        parts = [part async for part in client.bulk("resume", paused, "seen", batch=MAX_BULK)]
        print(f"resumed after {time.monotonic() - begun:.1f} s")
        assert sum(part.changed for part in parts) == PAUSED
        assert [refusal for part in parts for refusal in part.refused] == []
    done = Filter(workflow="orders", state=[State.COMPLETED])
    await until(lambda: count_is(done, PAUSED), "all are done", 240)
