"""What can't be read goes to the dead letters with its reason, and the shard goes on."""

import json

import aiohttp
import pytest
from aiokafka.partitioner import murmur2

from tests.kafka.cluster import PARTITIONS, Cluster, until
from tests.kafka.test_kills import all_complete

FULL = {
    "specversion": "1.0",
    "id": "1",
    "source": "/workflows/orders",
    "type": "trigger",
    "subject": "order",
    "time": "2030-01-01T00:00:00Z",
    "runid": "run-1",
    "data": {"item": "book"},
}

BAD = {
    "not JSON": (b"nonsense", "not JSON"),
    "empty": (b"", "empty"),
    "JSON of the wrong shape": (b'{"colour": "blue"}', "missing required field `type`"),
    "a list": (b"[1, 2]", "Expected `object`"),
    "an unknown type": (json.dumps({**FULL, "type": "fly"}).encode(), "no event type 'fly'"),
    "an unknown workflow": (
        json.dumps({**FULL, "source": "/workflows/other"}).encode(),
        "'/workflows/other'",
    ),
    "a foreign id with a control character": (
        json.dumps({**FULL, "subject": "a\0b"}).encode(),
        "foreign id",
    ),
    "2 MB": (json.dumps({**FULL, "data": {"item": "x" * 2_000_000}}).encode(), "limit is 1000000"),
    "an object that pydantic refuses": (
        b'{"type": "trigger", "subject": "refused", "data": {"item": 7}}',
        "item: Input should be a valid string",
    ),
    "a status of another enum": (
        b'{"type": "trigger", "subject": "lost", "status": "BLUE", "data": {}}',
        "no status 'BLUE'",
    ),
    "a start where nothing is left to do": (
        b'{"type": "trigger", "subject": "late", "status": "SHIPPED", "data": {}}',
        "nothing is left to do there",
    ),
}


def place_of(key: bytes) -> int:
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


@pytest.mark.timeout(120)
async def test_each_goes_to_the_dead_letters_with_its_reason(cluster: Cluster) -> None:
    worker = cluster.worker("first").start()
    await until(lambda: worker.says("shard_opened") >= 4, "ready")
    for value, _ in BAD.values():
        await cluster.produce(value, key=b"key")
    await cluster.trigger(["good"])
    await all_complete(cluster, 1)

    async def buried() -> bool:
        return len(await cluster.records(cluster.topics.dead_letters)) >= len(BAD)

    await until(buried, "all dead letters")
    letters = {
        dict(record.headers)["reason"].decode(): record
        for record in await cluster.records(cluster.topics.dead_letters)
    }
    for name, (value, reason) in BAD.items():
        [found] = [said for said in letters if reason in said] or [None]
        assert found, f"{name}: none of {list(letters)}"
        headers = dict(letters[found].headers)
        assert headers["topic"].decode() == cluster.topics.events
        assert headers["offset"].isdigit()
        if b"subject" not in value or b"runid" in value:
            assert letters[found].value == value, "the content is kept whole"
    async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/metrics") as answer:
        metrics = await answer.text()
    assert f'streamwf_dead_letters_total{{workflow="orders"}} {len(BAD)}.0' in metrics


@pytest.mark.timeout(120)
async def test_a_request_in_the_wrong_partition_is_forwarded_once(cluster: Cluster) -> None:
    worker = cluster.worker("first").start()
    await until(lambda: worker.says("shard_opened") >= 4, "ready")
    # As kcat does it: one line, no key, and whatever partition its own partitioner chooses.
    line = b'{"type": "trigger", "subject": "order-123", "data": {"item": "book"}}'
    wrong = (place_of(b"order-123") + 1) % PARTITIONS
    await cluster.produce(line, partition=wrong)
    await all_complete(cluster, 1)
    await cluster.checkpointed()
    records = await cluster.records(cluster.topics.events)
    forwarded = [record for record in records if b'"forwarded":true' in record.value]
    assert [record.partition for record in forwarded] == [place_of(b"order-123")]
    assert (await cluster.verify()).differences == []
