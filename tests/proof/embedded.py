"""The story of an engine of the testing kit, and of what is asked of it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from streamwf import Workflow
from streamwf.events import Event, decode_event
from streamwf.ports import LogRecord, ShardTable
from streamwf.record import Record
from streamwf.shard import Limits, Shard
from streamwf.tables.memory import MemoryTable
from streamwf.testing import Engine, SteppedClock
from tests.proof.story import Asked, Executed, Story

#: Records of a batch, where they are cut small.
SMALL = 7


class Asking:
    """Notes what is asked of the log of an engine, and what was accepted."""

    def __init__(self, app: Engine) -> None:
        self.asked: list[Asked] = []
        self._now = app.clock.now
        append = app.host.append

        async def noted(workflow: str, event: Event) -> None:
            await append(workflow, event)
            self.asked.append(
                Asked(event.type, event.id, event.subject, self._now(), event.runid, accepted=True)
            )

        app.host.append = noted  # type: ignore[method-assign]


def story_of(
    app: Engine,
    workflow: Workflow[Any, Any],
    executed: Sequence[Executed],
    asked: Sequence[Asked] = (),
) -> Story:
    """Of one workflow of an engine that has settled."""
    [shard] = app.host.shards(workflow.name)
    log, now = app.host.logs[workflow.name], app.clock.now()
    return Story(
        workflow=workflow,
        partition_of={},
        calm_at=app.clock.start,
        ended_at=now,
        logs={0: tuple(log.records)},
        rows={0: dict(shard.scan(""))},
        recovered={how: {0: rows} for how, rows in folded_again(workflow, log.records).items()},
        executed=tuple(executed),
        asked=tuple(asked),
        letters=frozenset(_ids(workflow.name, [letter.value for letter, _ in log.dead_letters])),
        lease=timedelta(0),
    )


def _ids(workflow: str, values: Sequence[bytes | None]) -> list[str]:
    found = []
    for value in values:
        try:
            event = decode_event(
                value, workflow=workflow, partition=0, offset=0, timestamp_ms=0, limit=1_000_000
            )
        except Exception:
            # It lies there because nobody can read it.
            continue
        found.append(event.id)
    return found


def folded_again(
    workflow: Workflow[Any, Any], records: Sequence[LogRecord]
) -> Mapping[str, Mapping[str, Record]]:
    """What the log folds to: in one batch, in many, and going on from each of some checkpoints."""
    found = {"in one batch": fold(workflow, records), "in many": fold(workflow, records, SMALL)}
    for part in (3, 2):
        cut = len(records) // part
        table = MemoryTable()
        fold(workflow, records[:cut], table=table)
        found[f"from a checkpoint at {cut}"] = fold(workflow, records[cut:], table=table)
    return found


def fold(
    workflow: Workflow[Any, Any],
    records: Sequence[LogRecord],
    batch: int = 1_000_000,
    table: MemoryTable | None = None,
) -> Mapping[str, Record]:
    """The rows. table: what was folded before, written to at the end."""
    table = MemoryTable() if table is None else table
    shard = a_shard(workflow, table)
    for start in range(0, len(records), batch):
        shard.fold(records[start : start + batch])
    rows = dict(shard.scan(""))
    shard.take_asides()
    checkpoint = shard.checkpoint()
    if checkpoint is not None:
        table.write(checkpoint)
        shard.committed(checkpoint)
    return rows


def a_shard(workflow: Workflow[Any, Any], table: ShardTable) -> Shard:
    """One that only folds, and runs nothing."""
    return Shard(
        workflow,
        0,
        table,
        end=1 << 62,
        clock=SteppedClock(),
        threads=ThreadPoolExecutor(1),
        wake=lambda: None,
        misplaced=lambda _: False,
        limits=Limits(),
    )
