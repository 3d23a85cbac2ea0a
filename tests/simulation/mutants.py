"""Mistakes that the engine could have, to see that simulations find them.

Each is made in the running code, for one test alone. What a mistake breaks it breaks in whatever
way the code is run: the judge's model has none of that code.
"""

import asyncio
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec

from streamwf import shard as shards
from streamwf.adapters.kafka import append, changelog, reader
from streamwf.adapters.kafka.reader import consumer
from streamwf.agenda import Entry, Kind, entries
from streamwf.agents.gaps import Gaps
from streamwf.agents.ownership import OwnedShard
from streamwf.events import DELETED, MOVED, REQUESTS, RESULTS, TRIGGER, Event
from streamwf.failures import Failures
from streamwf.fold import Verdict, fold
from streamwf.in_turn import InTurn
from streamwf.record import LIVE, Record, State
from streamwf.shard import Shard
from streamwf.tables.changelog import records_of
from streamwf.tables.runs import AsOf
from streamwf.timetable import Timetable
from tests.simulation.outcome import ordered, outcome_of_seed

Folded = tuple[Record | None, Verdict]


class Mutant(NamedTuple):
    """A mistake. seeds: by how many it is found, from 0 on; see `test_mutants.py`."""

    make: Callable[[], AbstractContextManager[Any]]
    seeds: int


def _folding(
    instead: Callable[[Record | None, Event, int], Folded],
) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(shards, "fold", instead)


# ---- in the fold


def _any_version(record: Record | None, event: Event, offset: int) -> Folded:
    """Results count whatever has come since."""
    if record is not None and event.type in RESULTS:
        event = msgspec.structs.replace(event, version=record.version)
    return fold(record, event, offset)


def _any_trigger(record: Record | None, event: Event, offset: int) -> Folded:
    """A trigger that comes again starts the run again, once it has ended."""
    repeated = record is not None and record.run_id == event.runid and record.state not in LIVE
    return fold(None if repeated and event.type == TRIGGER else record, event, offset)


def _several_runs(record: Record | None, event: Event, offset: int) -> Folded:
    """A run is started though one is in progress."""
    other = record is not None and record.run_id != event.runid
    return fold(None if other and event.type == TRIGGER else record, event, offset)


def _any_request(record: Record | None, event: Event, offset: int) -> Folded:
    """A request that comes again counts again."""
    if record is not None and event.type in REQUESTS:
        record = msgspec.structs.replace(record, requests=())
    return fold(record, event, offset)


def _keeps_data(record: Record | None, event: Event, offset: int) -> Folded:
    """What is deleted stays."""
    if record is not None and event.type == DELETED:
        event = msgspec.structs.replace(event, data=record.object)
    return fold(record, event, offset)


def _keeps_timers(record: Record | None, event: Event, offset: int) -> Folded:
    """Timers outlast the stay that they are of."""
    after, verdict = fold(record, event, offset)
    if record is not None and after is not None and event.type == MOVED and after.state in LIVE:
        names = {timer.name for timer in after.timers}
        old = tuple(timer for timer in record.timers if timer.name not in names)
        after = msgspec.structs.replace(after, timers=(*after.timers, *old))
    return after, verdict


# ---- in what is dispatched


def _paused_too(record: Record) -> tuple[Entry, ...]:
    if record.state is State.PAUSED and record.due_at is not None:
        return (*entries(record), Entry(record.due_at, Kind.STEP))
    return entries(record)


@contextmanager
def _works_at_paused() -> Iterator[None]:
    """The steps of paused runs are started."""
    with (
        patch("streamwf.shard.entries", _paused_too),
        patch("streamwf.timetable.entries", _paused_too),
    ):
        yield


def _due_early(self: Timetable, now: Any) -> Iterator[Any]:
    """What is in the timetable is taken for due."""
    found, self._heap[:] = list(self._heap), []
    for due_at, _, key, kind, name in found:
        record = self._get(key)
        if record is not None and Entry(due_at, kind, name) in entries(record):
            yield record, kind, name


def _far_alone(self: Timetable, key: str, entry: Entry) -> None:
    """What is due soon is left to the table, which is not asked for that any more."""
    self._unwritten.append((entry.due_at, key))


def _counts_twice() -> AbstractContextManager[Any]:
    """A failed try counts for two."""
    failed = Failures.failed

    def twice(self: Any, record: Record, *given: Any) -> Event:
        return failed(self, msgspec.structs.replace(record, attempt=record.attempt + 1), *given)

    return patch.object(Failures, "failed", twice)


# ---- in what is made durable


async def _later_position(self: Any, producer: Any, **given: Any) -> None:
    """A checkpoint is taken for that of what has been folded while it was on its way."""
    if self.exactly_once:
        await _checkpoint(self, producer, **given)
        return
    shard = self.shard
    async with self._turn:
        if shard is None or self.closed:
            return
        asides, checkpoint = shard.take_asides(), shard.checkpoint()
        try:
            await self._send(producer, shard, asides)
            if checkpoint is not None:
                await asyncio.sleep(0.02)
                checkpoint = replace(checkpoint, position=shard.position)
                await self._changelog.write(checkpoint, self._table)
        except BaseException:
            if checkpoint is not None:
                shard.failed(checkpoint)
            raise
        if checkpoint is not None:
            shard.committed(checkpoint)


async def _position_first(self: Any, checkpoint: Any, table: Any, beside: Any = None) -> None:
    """The position is durable before the rows are."""
    if beside is not None:
        await _write(self, checkpoint, table, beside)
        return
    table_id = table.as_of.table_id if table.as_of else "first"
    rows, records = records_of(checkpoint, table_id)
    *changed, marker = records
    for part in ([marker], changed, [marker]):
        await self._producer.begin_transaction()
        if part:
            at = await append.append_batch(self._producer, self._topic, self._partition, part)
        await self._producer.commit_transaction()
    table.write(checkpoint.changes, rows, AsOf(table_id, at, checkpoint.position))


def _no_fence() -> AbstractContextManager[Any]:
    """A shard's former owner can go on to write."""
    names = itertools.count()

    def unfenced(settings: Any, transactional_id: str) -> Any:
        return append.producer(settings, f"{transactional_id}-{next(names)}")

    return patch.object(changelog, "producer", unfenced)


@contextmanager
def _asides_later() -> Iterator[None]:
    """What is for other places is sent at leisure, once the checkpoint is there."""

    async def checkpoint(self: Any, producer: Any, **given: Any) -> None:
        if self.exactly_once:
            await _checkpoint(self, producer, **given)
            return
        shard = self.shard
        async with self._turn:
            if shard is None or self.closed:
                return
            asides, taken = shard.take_asides(), shard.checkpoint()
            if taken is not None:
                try:
                    await self._changelog.write(taken, self._table)
                except BaseException:
                    shard.failed(taken)
                    raise
                shard.committed(taken)
            if asides:
                await asyncio.sleep(0.3)
                await self._send(producer, shard, asides)

    async def at_leisure(self: Any, producer: Any) -> None: ...

    # Whoever appends would ask for ever.
    appends = property(lambda self: bool(self._appends))
    with ExitStack() as made:
        made.enter_context(patch.object(OwnedShard, "checkpoint", checkpoint))
        made.enter_context(patch.object(OwnedShard, "send_asides", at_leisure))
        made.enter_context(patch.object(Shard, "has_output", appends))
        yield


async def _no_asides(self: Any, producer: Any, shard: Any, asides: Any) -> None:
    """What is for other places goes nowhere, one time in ten."""
    if random.random() > 0.1:
        await _send(self, producer, shard, asides)


_send = OwnedShard._send
_checkpoint = OwnedShard.checkpoint
_write = changelog.Changelog.write


def _uncommitted() -> AbstractContextManager[Any]:
    """What was never committed is read all the same."""
    return patch.object(changelog, "consumer", lambda settings, committed: consumer(settings))


def _drops_results() -> AbstractContextManager[Any]:
    """What could not be appended is not tried again."""
    return patch.object(Shard, "return_appends", lambda self, appends: None)


def _believes_gaps() -> AbstractContextManager[Any]:
    """What is missing in what was read is not missed."""
    return patch.object(Gaps, "before", lambda self, log, position, records, begin: not records)


def _once_forgotten() -> AbstractContextManager[Any]:
    """Results are appended as for at least once."""
    forgotten = property(lambda self: False, lambda self, value: None)
    return patch.object(OwnedShard, "exactly_once", forgotten, create=True)


def _aborted_read() -> AbstractContextManager[Any]:
    """Of the log, what was aborted is read all the same."""
    return patch.object(reader, "consumer", lambda settings, **_: consumer(settings))


def _out_of_turn() -> AbstractContextManager[Any]:
    """A result is handed out while another one of the run is on its way."""
    return patch.object(InTurn, "may_go", lambda self, record, event: True)


def _stays_where_it_is() -> AbstractContextManager[Any]:
    """What lies in the wrong partition is taken there."""
    return patch.object(Shard, "_elsewhere", lambda self, record, event: False)


MUTANTS: dict[str, Mutant] = {
    "version check dropped": Mutant(_folding(_any_version), 40),
    "dedupe of triggers dropped": Mutant(_folding(_any_trigger), 40),
    "several runs of a foreign id": Mutant(_folding(_several_runs), 10),
    "dedupe of requests dropped": Mutant(_folding(_any_request), 40),
    "deleted data kept": Mutant(_folding(_keeps_data), 60),
    "timer not bound to the stay": Mutant(_folding(_keeps_timers), 40),
    "pause ignored by the dispatcher": Mutant(_works_at_paused, 40),
    "timers early": Mutant(lambda: patch.object(Timetable, "due", _due_early), 20),
    "timers forgotten": Mutant(lambda: patch.object(Timetable, "add", _far_alone), 40),
    "retry counted twice": Mutant(_counts_twice, 60),
    "ack before the changelog": Mutant(
        lambda: patch.object(OwnedShard, "checkpoint", _later_position), 100
    ),
    "position before the rows": Mutant(
        lambda: patch.object(changelog.Changelog, "write", _position_first), 40
    ),
    "fence ignored": Mutant(_no_fence, 100),
    "asides lost at a crash": Mutant(_asides_later, 100),
    "asides lost": Mutant(lambda: patch.object(OwnedShard, "_send", _no_asides), 60),
    "uncommitted rows read": Mutant(_uncommitted, 150),
    "results not appended again": Mutant(_drops_results, 200),
    "gaps believed": Mutant(_believes_gaps, 200),
    "results not in the transaction": Mutant(_once_forgotten, 60),
    "aborted results read": Mutant(_aborted_read, 60),
    "results out of turn": Mutant(_out_of_turn, 60),
    "misplaced requests taken": Mutant(_stays_where_it_is, 40),
}


def found_by(mutant: Mutant) -> tuple[int, str] | None:
    """The first seed that finds a mistake, and the promise that it breaks."""
    with mutant.make():
        for seed in range(mutant.seeds):
            broken = outcome_of_seed(seed).broken
            if broken:
                return seed, broken[0].promise
    return None


def main() -> int:
    """Tell of each mistake which seed has found it. Exits with 1 if none has."""
    ordered("tests.simulation.mutants")
    left = False
    for name, mutant in MUTANTS.items():
        found = found_by(mutant)
        left |= found is None
        told = "not found" if found is None else f"found by seed {found[0]}: {found[1]}"
        print(f"{name}: {told} (of {mutant.seeds} seeds)", flush=True)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
