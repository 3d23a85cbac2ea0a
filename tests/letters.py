"""Dead letters in their topic and in a database: told by every worker, settled for all of them."""

import json
from datetime import timedelta

import pytest

from streamwf import Client
from streamwf.errors import LetterNotFound, LetterNotSent
from streamwf.letter_views import LetterView
from tests.kafka.cluster import Worker, until
from tests.kafka.flows import orders
from tests.kafka.test_bad_input import FULL

TOO_LARGE = json.dumps(
    {
        **FULL,
        "time": "2020-01-01T00:00:00Z",
        "runid": "large",
        "data": {"item": "x" * 1_100_000},
    }
).encode()
ROOM = "2000000"


async def letters_at(worker: Worker, count: int) -> list[LetterView]:
    """What a worker tells of, once there are so many."""
    found: list[LetterView] = []

    async def all_there() -> bool:
        async with Client.over_http(worker.url) as client:
            found[:] = [letter async for letter in client.dead_letters(orders)]
        return len(found) == count

    await until(all_there, f"{count} letters")
    return found


async def settled(first: Worker, again: Worker, restart: Worker) -> None:
    """A letter is dropped, one sent again once it may be as large as it is. Both are listed no
    more, wherever it is asked. restart: what is to be started with more room."""
    small, large = sorted(await letters_at(first, 2), key=lambda letter: letter.size)
    assert (small.text, small.key) == ("nonsense", "key")
    async with Client.over_http(again.url) as client:
        assert (await client.dead_letter(small.id)).text == "nonsense"
        await client.drop_dead_letter(small.id, "spam")
        with pytest.raises(LetterNotFound):
            await client.drop_dead_letter(small.id)
        with pytest.raises(LetterNotSent, match="limit is 1000000"):
            await client.retry_dead_letter(large.id)
    assert [letter.id for letter in await letters_at(first, 1)] == [large.id]
    restart.stop()
    before = restart.says("worker_listens")
    restart.start(STREAMWF_MAX_RECORD_BYTES=ROOM)
    await until(lambda: restart.says("worker_listens") > before, "it listens again")


async def sent_again(worker: Worker) -> None:
    [large] = await letters_at(worker, 1)
    async with Client.over_http(worker.url) as client:
        await client.retry_dead_letter(large.id, "there is room now")
        run = await client.await_(orders, "large", timeout=timedelta(seconds=60))
        assert len(run.object.item) == 1_100_000
    await letters_at(worker, 0)
