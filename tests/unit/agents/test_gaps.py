"""A gap is read again until there is none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from streamwf.agents.gaps import Gaps

LOG = TopicPartition("orders.events", 3)


@dataclass
class At:
    offset: int


def at(*offsets: int) -> Sequence[At]:
    return [At(offset) for offset in offsets]


async def test_what_follows_is_no_gap() -> None:
    gaps = Gaps(never)
    assert not gaps.before(LOG, 5, at(5, 6), 5)
    assert not gaps.before(LOG, 5, at(3, 4, 5), 3), "what was folded before the fold passes over"


async def test_what_was_passed_over_when_it_was_read_is_no_gap() -> None:
    gaps = Gaps(never)
    assert not gaps.before(LOG, 5, at(7, 8), 5), "a transaction's end is no record"


async def test_a_gap_is_read_again_and_nothing_after_it_is_folded_meanwhile() -> None:
    asked: list[TopicPartition] = []

    async def reread(log: TopicPartition) -> None:
        asked.append(log)

    gaps = Gaps(reread)
    assert gaps.before(LOG, 5, at(7, 8), 7)
    assert gaps.before(LOG, 5, at(9), 9), "read before the gap was noticed"
    await asyncio.sleep(0)
    assert asked == [LOG]
    assert gaps.before(LOG, 5, (), 0)
    assert not gaps.before(LOG, 5, at(5, 6, 7), 5), "it was only lost on the way"


async def test_what_is_lost_again_is_read_again() -> None:
    asked: list[TopicPartition] = []

    async def reread(log: TopicPartition) -> None:
        asked.append(log)

    gaps = Gaps(reread)
    for _ in range(3):
        assert gaps.before(LOG, 5, at(7), 7)
        await asyncio.sleep(0)
        assert gaps.before(LOG, 5, (), 0)
    assert asked == [LOG] * 3
    assert not gaps.before(LOG, 5, at(7), 5), "what retention has taken was passed over"


async def test_a_shard_that_goes_and_comes_back_begins_anew() -> None:
    asked: list[TopicPartition] = []

    async def reread(log: TopicPartition) -> None:
        asked.append(log)

    gaps = Gaps(reread)
    assert gaps.before(LOG, 5, at(7), 7)
    await asyncio.sleep(0)
    # The empty batch arrived while the shard was away.
    gaps.forget(LOG)
    assert gaps.before(LOG, 5, at(7), 7)
    await asyncio.sleep(0)
    assert asked == [LOG, LOG], "another gap is read again, not waited out for ever"


async def never(log: TopicPartition) -> None:
    raise AssertionError("nothing is missing")
