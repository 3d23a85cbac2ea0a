"""What a simulation leaves, as its story tells it: the log, the tables, and the same tables made
in every other way that there is."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from streamwf.agents.folding import NEVER
from streamwf.errors import StreamwfError
from streamwf.events import decode_event
from streamwf.ports import LogRecord
from streamwf.record import Record, encode_record
from streamwf.searched import terms_of
from streamwf.shard import Limits, Shard
from streamwf.tables.changelog import ChangelogRecord, Recovery, StaleTable
from streamwf.tables.keys import SECRET, KeyTable
from streamwf.tables.runs import AsOf
from tests.simulation.flows import NAME
from tests.simulation.tables import SimTable

if TYPE_CHECKING:
    from tests.simulation.world import World

Rows = Mapping[str, Record]


def logs(world: "World") -> dict[int, Sequence[LogRecord]]:
    """Every record that was ever readable, by partition."""
    count = world.plan.setup.partitions
    return {n: tuple(world.broker.all(world.log(n), committed=True)) for n in range(count)}


def letters(world: "World") -> frozenset[str]:
    """The ids of the events among the dead letters."""
    found = set()
    for n in range(world.plan.setup.partitions):
        for record in world.broker.all(world.at(world.topics.dead_letters, n), committed=True):
            said = dict(record.headers)
            try:
                event = decode_event(
                    record.value,
                    workflow=NAME,
                    partition=int(said["partition"]),
                    offset=int(said["offset"]),
                    timestamp_ms=record.timestamp,
                    limit=world.defaults["max_record_bytes"],
                )
            except StreamwfError:
                continue
            found.add(event.id)
    return frozenset(found)


def keys(world: "World", *, stray: bool = False) -> frozenset[str]:
    """The ids of the runs that there are keys of; or of those whose keys should not be there."""
    found = set()
    for n in range(world.plan.setup.partitions):
        table = KeyTable()
        left: dict[bytes, bytes | None] = {}
        for record in world.broker.all(world.at(world.topics.keys, n)):
            key = record.key or b""
            left[key] = record.value
            table.apply(key, record.value, record.timestamp)
        for key, value in left.items():
            if value is not None and len(value) == SECRET and (not stray or key in table.stray):
                found.add(key.split(b"\0")[1].decode())
    return frozenset(found)


def rows(world: "World") -> dict[int, Rows]:
    """Those of the owners' tables, and what their shards have not written yet."""
    found: dict[int, Rows] = {}
    for n in range(world.plan.setup.partitions):
        shard = world.owner_of(n)
        found[n] = {} if shard is None else dict(shard.scan(""))
    return found


def recovered(world: "World") -> dict[str, dict[int, Rows]]:
    """The same tables, by the ways that they came to be."""
    chance = Random(f"recovered {world.plan.seed}")
    found: dict[str, dict[int, Rows]] = {}
    for n in range(world.plan.setup.partitions):
        log = list(world.broker.all(world.log(n), committed=True))
        for name, table in _tables(world, n, chance):
            bite = 1_000_000 if name == "log" else 7
            _fold(world, n, table, log, chance, bite)
            found.setdefault(name, {})[n] = dict(table.scan(""))
    return found


def _tables(world: "World", n: int, chance: Random) -> Iterator[tuple[str, Any]]:
    """Tables that are to be brought up to the log's end, by their names."""
    terms = terms_of(world.made.workflow)
    yield "log", SimTable(terms)
    yield "log in pieces", SimTable(terms)
    changelog = SimTable(terms)
    _recover(world, n, changelog)
    yield "changelog", changelog
    for worker in world.workers:
        left = worker.disk.tables.get((NAME, n))
        if left is None:
            continue
        if isinstance(left, SimTable):
            yield f"checkpoint of {worker.name}", left.as_before(chance)
        _recover(world, n, left)
        yield f"disk of {worker.name}", left


def _recover(world: "World", n: int, table: Any) -> None:
    at = world.at(world.topics.changelog, n)
    while True:
        recovery = Recovery(table)
        try:
            found, _ = world.broker.read(at, recovery.start, NEVER, committed=True)
            recovery.apply([ChangelogRecord(r.offset, r.key or b"", r.value) for r in found])
            recovery.finish()
            return
        except StaleTable:
            table.wipe()


def _fold(world: "World", n: int, table: Any, log: list[Any], chance: Random, bite: int) -> None:
    """Fold the log from where the table is to its end, in pieces, with checkpoints in between."""
    shard = Shard(
        world.made.workflow,
        n,
        table,
        end=NEVER,
        clock=world,
        threads=None,  # type: ignore[arg-type]
        wake=lambda: None,
        misplaced=lambda foreign_id: world.partition_of(foreign_id) != n,
        limits=Limits(world.defaults["max_record_bytes"]),
    )
    for piece in _pieces([each for each in log if each.offset >= shard.position], chance, bite):
        shard.fold(piece)
        if bite > len(log) or chance.random() < 0.3:
            _write(shard, table)
    _write(shard, table)


def _pieces(log: list[Any], chance: Random, bite: int) -> Iterable[list[Any]]:
    while log:
        size = chance.randint(1, bite)
        yield log[:size]
        log = log[size:]


def _write(shard: Shard, table: Any) -> None:
    shard.take_asides()
    checkpoint = shard.checkpoint()
    if checkpoint is not None:
        written = [None if c.after is None else encode_record(c.after) for c in checkpoint.changes]
        table.write(checkpoint.changes, written, AsOf("aside", 0, checkpoint.position))
        shard.committed(checkpoint)
