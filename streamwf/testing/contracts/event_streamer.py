"""What every event streamer holds to. An adapter's own test gives it a factory."""

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from contextlib import suppress

import pytest

from streamwf.errors import StreamClosed
from streamwf.ports import EventStreamer, Outgoing, Received

from .streams import (
    FOREIGN_IDS,
    PATIENCE,
    STREAMS,
    OpenStreamer,
    cancelled,
    outgoing,
    recv,
    settled,
    values,
)


@pytest.mark.asyncio
class EventStreamerContract:
    """Subclasses give `open_streamer`: each call opens a streamer of the same streams.

    They are empty at the start of a test; what one streamer has sent, the next one receives.
    """

    @pytest.fixture
    def open_streamer(self) -> OpenStreamer:
        raise NotImplementedError

    @pytest.fixture
    def stream(self) -> str:
        return f"orders-{uuid.uuid4().hex[:8]}"

    # ---- receiving

    async def test_what_is_sent_is_received(self, open_streamer: OpenStreamer, stream: str) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", "a"))
            [received] = await recv(await streamer.receiver(stream, "one"), 1)

        assert received.record.key == b"o-1"
        assert received.record.value == b"a"
        # Some time of this century, in milliseconds.
        assert 1_000_000_000_000 < received.record.timestamp < 5_000_000_000_000

    async def test_a_receiver_waits(self, open_streamer: OpenStreamer, stream: str) -> None:
        async with open_streamer() as streamer:
            receiver = await streamer.receiver(stream, "one")
            waiting = asyncio.create_task(recv(receiver, 1))
            await settled()
            assert not waiting.done()
            await (await streamer.sender(stream)).send(outgoing("o-1", "a"))

            assert values(await waiting) == ["a"]

    async def test_one_streamer_receives_what_another_one_sends(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as here, open_streamer() as there:
            receiver = await here.receiver(stream, "one")
            sender = await there.sender(stream)
            for value in "abc":
                await sender.send(outgoing("o-1", value))

                assert values(await recv(receiver, 1)) == [value]

    async def test_a_key_keeps_its_order(self, open_streamer: OpenStreamer, stream: str) -> None:
        keys = [f"o-{number}" for number in range(20)]
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            for turn in range(10):
                await sender.send(
                    [Outgoing(key.encode(), f"{turn}.{n}".encode()) for n in (0, 1) for key in keys]
                )
            received = await recv(await streamer.receiver(stream, "one"), 400)

        for key in keys:
            of_key = [item for item in received if item.record.key == key.encode()]
            assert values(of_key) == [f"{turn}.{n}" for turn in range(10) for n in (0, 1)]
            assert len({item.partition for item in of_key}) == 1

    async def test_offsets_rise_within_a_partition(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await self._send_many(streamer, stream, 50)
            received = await recv(await streamer.receiver(stream, "one"), 50)

        for partition in {item.partition for item in received}:
            offsets = [item.record.offset for item in received if item.partition == partition]
            assert offsets == sorted(set(offsets))

    async def test_two_names_each_receive_all(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", "a", "b"))
            for name in ("one", "another name, with spaces", "x" * 200):
                receiver = await streamer.receiver(stream, name)
                assert values(await recv(receiver, 2)) == ["a", "b"]
                await receiver.ack()

    async def test_streams_are_apart(self, open_streamer: OpenStreamer) -> None:
        async with open_streamer() as streamer:
            for name in STREAMS:
                await (await streamer.sender(name)).send(outgoing("o-1", name))
            for name in STREAMS:
                receiver = await streamer.receiver(name, "one")
                assert values(await recv(receiver, 1)) == [name]
                await receiver.ack()
                assert await receiver.lag() == 0

    # ---- acknowledging

    async def test_what_was_not_acknowledged_is_received_again(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            await sender.send(outgoing("o-1", "a"))
            receiver = await streamer.receiver(stream, "one")
            await recv(receiver, 1)
            await receiver.ack()
            await sender.send(outgoing("o-1", "b"))
            assert values(await recv(receiver, 1)) == ["b"]
            await receiver.close()

            assert values(await recv(await streamer.receiver(stream, "one"), 1)) == ["b"]

    async def test_who_never_acknowledged_begins_at_the_beginning(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", "a"))
            for _ in range(2):
                receiver = await streamer.receiver(stream, "one")
                assert values(await recv(receiver, 1)) == ["a"]
                await receiver.close()

    async def test_acknowledging_twice_or_before_anything_is_harmless(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            early = await streamer.receiver(stream, "early")
            await early.ack()
            await (await streamer.sender(stream)).send(outgoing("o-1", "a"))
            assert values(await recv(early, 1)) == ["a"]
            await early.ack()
            await early.ack()
            await (await streamer.sender(stream)).send(outgoing("o-1", "b"))

            assert values(await recv(await streamer.receiver(stream, "early"), 1)) == ["b"]

    # ---- from the latest, and since

    async def test_from_latest_sees_only_what_is_sent_after_connecting(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            await sender.send(outgoing("o-1", "before"))
            receiver = await streamer.receiver(stream, "one", from_latest=True)
            # Nothing was asked of it yet, and this is after it, all the same.
            await sender.send(outgoing("o-1", "after"))

            assert values(await recv(receiver, 1)) == ["after"]

    async def test_from_latest_has_no_effect_once_something_was_committed(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            await sender.send(outgoing("o-1", "a"))
            receiver = await streamer.receiver(stream, "one")
            await recv(receiver, 1)
            await receiver.ack()
            await receiver.close()
            await sender.send(outgoing("o-1", "b"))
            receiver = await streamer.receiver(stream, "one", from_latest=True)

            assert values(await recv(receiver, 1)) == ["b"]

    async def test_since_says_where_to_begin_whatever_was_committed(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", "a", "b", "c"))
            receiver = await streamer.receiver(stream, "one")
            received = await recv(receiver, 3)
            await receiver.ack()
            since = {received[1].partition: received[1].record.offset}
            again = await streamer.receiver(stream, "one", since=since)

            assert values(await recv(again, 2)) == ["b", "c"]

    async def test_a_partition_that_since_does_not_name_begins_at_its_beginning(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await self._send_many(streamer, stream, 30)
            receiver = await streamer.receiver(stream, "one", since={})

            assert len(await recv(receiver, 30)) == 30

    async def test_only_some_partitions_are_followed(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await self._send_many(streamer, stream, 30)
            received = await recv(await streamer.receiver(stream, "one"), 30)
            wanted = max(item.partition for item in received)
            there = [item for item in received if item.partition == wanted]
            since = {wanted: there[1].record.offset}
            some = await streamer.receiver(stream, "some", since=since, only=[wanted])
            offsets = [item.record.offset for item in await recv(some, len(there) - 1)]
            left = await some.lag()

        assert (offsets, left) == ([item.record.offset for item in there[1:]], 0)

    async def test_since_the_ends_is_from_now_on(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            empty = await streamer.ends(stream)
            await self._send_many(streamer, stream, 30)
            ends = await streamer.ends(stream)
            await (await streamer.sender(stream)).send(outgoing("o-1", "after"))
            late = await streamer.receiver(stream, "late", since=ends)
            early = await streamer.receiver(stream, "early", since=empty)

            assert values(await recv(late, 1)) == ["after"]
            assert len(await recv(early, 31)) == 31

    # ---- looking

    async def test_ends_are_after_the_last_record(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await self._send_many(streamer, stream, 30)
            received = await recv(await streamer.receiver(stream, "one"), 30)
            ends = await streamer.ends(stream)

        last = {item.partition: item.record.offset for item in received}
        assert {partition: ends[partition] for partition in last} == {
            partition: offset + 1 for partition, offset in last.items()
        }

    async def test_lag_is_what_was_not_received(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            receiver = await streamer.receiver(stream, "one")
            assert await receiver.lag() == 0
            await self._send_many(streamer, stream, 30)
            assert await receiver.lag() == 30
            await recv(receiver, 30)
            assert await receiver.lag() == 0
            await sender.send(outgoing("o-1", "a", "b"))
            assert await receiver.lag() == 2
            latest = await streamer.receiver(stream, "latest", from_latest=True)
            assert await latest.lag() == 0

    async def test_single_records_are_read(self, open_streamer: OpenStreamer, stream: str) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", *"abcde"))
            received = await recv(await streamer.receiver(stream, "one"), 5)
            partition = received[0].partition
            wanted = [item.record.offset for item in received][1::2]
            found = await streamer.read(stream, partition, wanted)
            none = await streamer.read(stream, partition, [])
            beyond = await streamer.read(
                stream, partition, [received[0].record.offset, received[-1].record.offset + 1_000]
            )

        assert [(record.offset, record.key, record.value) for record in found] == [
            (wanted[0], b"o-1", b"b"),
            (wanted[1], b"o-1", b"d"),
        ]
        assert none == []
        assert [record.value for record in beyond] == [b"a"]

    # ---- what is sent

    async def test_an_empty_batch_is_nothing(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            await sender.send([])
            await sender.send(outgoing("o-1", "a"))

            assert values(await recv(await streamer.receiver(stream, "one"), 1)) == ["a"]

    async def test_ten_thousand_records(self, open_streamer: OpenStreamer, stream: str) -> None:
        async with open_streamer() as streamer:
            receiver = await streamer.receiver(stream, "one")
            await self._send_many(streamer, stream, 10_000)
            received = await recv(receiver, 10_000)

        assert sorted(map(int, values(received))) == list(range(10_000))

    async def test_large_records(self, open_streamer: OpenStreamer, stream: str) -> None:
        # Not the same characters, which would compress to nothing.
        large = [uuid.uuid4().hex * 31_000 for _ in range(8)]
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", *large))
            received = await recv(await streamer.receiver(stream, "one"), 8)

        assert values(received) == large

    @pytest.mark.parametrize("foreign_id", FOREIGN_IDS, ids=range(len(FOREIGN_IDS)))
    async def test_foreign_ids_of_any_kind(
        self, open_streamer: OpenStreamer, stream: str, foreign_id: str
    ) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing(foreign_id, foreign_id))
            [received] = await recv(await streamer.receiver(stream, "one"), 1)

        assert received.record.key == foreign_id.encode()
        assert values([received]) == [foreign_id]

    async def test_values_are_bytes(self, open_streamer: OpenStreamer, stream: str) -> None:
        value = bytes(range(256)) + "注🛒'\"\\%s".encode()
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send([Outgoing(b"o-1", value)])
            [received] = await recv(await streamer.receiver(stream, "one"), 1)

        assert received.record.value == value

    async def test_many_senders_at_once(self, open_streamer: OpenStreamer, stream: str) -> None:
        async def send(streamer: EventStreamer, key: str) -> None:
            sender = await streamer.sender(stream)
            for number in range(20):
                await sender.send(outgoing(key, f"{number}", f"{number}'"))

        async with open_streamer() as here, open_streamer() as there:
            receiver = await here.receiver(stream, "one")
            receiving = asyncio.create_task(recv(receiver, 400))
            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                for key in range(10):
                    group.create_task(send((here, there)[key % 2], f"o-{key}"))
            received = await receiving

        for key in range(10):
            of_key = [item for item in received if item.record.key == f"o-{key}".encode()]
            assert values(of_key) == [f"{n}{mark}" for n in range(20) for mark in ("", "'")]

    # ---- opening again, closing, cancelling

    async def test_all_of_it_outlives_the_streamer(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            await (await streamer.sender(stream)).send(outgoing("o-1", "a"))
            receiver = await streamer.receiver(stream, "one")
            [first] = await recv(receiver, 1)
            await receiver.ack()
            await (await streamer.sender(stream)).send(outgoing("o-1", "b"))
        async with open_streamer() as streamer:
            assert values(await recv(await streamer.receiver(stream, "one"), 1)) == ["b"]
            assert values(await recv(await streamer.receiver(stream, "new"), 2)) == ["a", "b"]
            [read] = await streamer.read(stream, first.partition, [first.record.offset])
            await (await streamer.sender(stream)).send(outgoing("o-1", "c"))
            since = {first.partition: first.record.offset + 1}
            later = await streamer.receiver(stream, "later", since=since)
            assert values(await recv(later, 2)) == ["b", "c"]

        assert read.value == b"a"

    async def test_closing_ends_whoever_waits(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            receiver = await streamer.receiver(stream, "one")
            waiting = asyncio.create_task(receiver.recv())
            await settled()
            async with asyncio.timeout(PATIENCE):
                await receiver.close()
                with pytest.raises(StreamClosed):
                    await waiting
            with pytest.raises(StreamClosed):
                await receiver.recv()

    async def test_closing_a_streamer_closes_what_it_has_opened(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            receiver = await streamer.receiver(stream, "one")
            waiting = asyncio.create_task(receiver.recv())
            await settled()
            async with asyncio.timeout(PATIENCE):
                await streamer.close()
                with pytest.raises(StreamClosed):
                    await waiting
            with pytest.raises(StreamClosed):
                await sender.send(outgoing("o-1", "a"))

    async def test_a_closed_sender_sends_nothing(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer:
            sender = await streamer.sender(stream)
            await sender.close()
            with pytest.raises(StreamClosed):
                await sender.send(outgoing("o-1", "a"))
            # Another one is not concerned by it.
            await (await streamer.sender(stream)).send(outgoing("o-1", "b"))

            assert values(await recv(await streamer.receiver(stream, "one"), 1)) == ["b"]

    async def test_who_is_cancelled_has_received_nothing(
        self, open_streamer: OpenStreamer, stream: str
    ) -> None:
        async with open_streamer() as streamer, asyncio.timeout(PATIENCE):
            await (await streamer.sender(stream)).send(outgoing("o-1", "a", "b"))
            receiver = await streamer.receiver(stream, "one")
            received: Sequence[Received] = []
            for turn in itertools.count():
                # Whatever a cancellation has cost is there again: each time has the same turns.
                assert await receiver.lag() == 2
                waiting = asyncio.create_task(cancelled(receiver.recv(), turn))
                with suppress(asyncio.CancelledError):
                    received = await waiting
                    break

            assert values(received) == ["a", "b"]

    async def _send_many(self, streamer: EventStreamer, stream: str, count: int) -> None:
        """Numbers in a few batches, with keys that lie all over the partitions."""
        sender = await streamer.sender(stream)
        size = max(1, count // 3)
        for start in range(0, count, size):
            numbers = range(start, min(start + size, count))
            await sender.send([Outgoing(f"o-{n}".encode(), str(n).encode()) for n in numbers])
