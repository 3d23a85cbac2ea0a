"""Rebuilding the tables from the log, and comparing them with it. Nothing is executed."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.topics import (
    app_id_of,
    ensure_topics,
    recreate_changelog,
    running_workers,
)
from streamwf.agents.data_dir import DataDir
from streamwf.agents.folding import Folding, Progress, write_aside
from streamwf.definition import Workflow
from streamwf.errors import WorkersRunning
from streamwf.settings import Settings
from streamwf.tables.runs import Memory, RunsTable


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild has led to."""

    partitions: int
    events: int
    runs: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that the log does not lead to as it is. live, folded: JSON; None for no row."""

    partition: int
    key: str
    live: str | None
    folded: str | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What a comparison has found.

    rows: how many runs the log leads to, up to where the tables are.
    behind: how many events the log has after that, which no checkpoint has made durable yet.
    """

    rows: int
    behind: int
    differences: list[Difference]


async def rebuild(workflow: Workflow[Any, Any], settings: Settings, progress: Progress) -> Rebuilt:
    """Fold a workflow's log from its beginning into a fresh table and changelog.

    Raises BrokerUnreachable, PartitionMismatch, DataDirInUse, and WorkersRunning while workers of
    the group are there.
    """
    workflow.validate()
    await ensure_topics([workflow.name], settings)
    app_id = app_id_of([workflow.name], settings)
    workers = await running_workers(settings, app_id)
    if workers:
        raise WorkersRunning(count=workers, app_id=app_id)
    data = DataDir(settings.data_dir)
    data.lock()
    folding = Folding(workflow, settings, progress)
    await folding.reader.start()
    try:
        await recreate_changelog(workflow.name, settings)
        partitions = range(settings.partitions)
        ends = await folding.reader.end_offsets([folding.log(p) for p in partitions])
        begins = await folding.measure({p: ends[folding.log(p)] for p in partitions})
        runs = 0
        for partition in partitions:
            data.wipe((workflow.name, partition))
            table = data.table((workflow.name, partition))
            changelog = Changelog(folding.topics.changelog, partition, settings)
            await changelog.open()
            try:
                end = ends[folding.log(partition)]
                await folding.fold(partition, table, begins[partition], end, changelog.write)
            finally:
                await changelog.close()
            runs += sum(table.counts().values())
        return Rebuilt(partitions=settings.partitions, events=folding.done, runs=runs)
    finally:
        await stop_consumer(folding.reader)
        data.close()


async def verify(workflow: Workflow[Any, Any], settings: Settings, progress: Progress) -> Verified:
    """Fold the log aside, up to where the changelog is, and compare row by row.

    Workers may go on meanwhile. Raises BrokerUnreachable and PartitionMismatch.
    """
    workflow.validate()
    await ensure_topics([workflow.name], settings)
    folding = Folding(workflow, settings, progress)
    await folding.reader.start()
    memory = Memory()
    try:
        with tempfile.TemporaryDirectory(prefix="streamwf-verify-") as directory:
            live = await folding.live_tables(Path(directory), memory)
            ends = {partition: table.position or 0 for partition, table in live.items()}
            begins = await folding.measure(ends)
            logs = await folding.reader.end_offsets([folding.log(p) for p in ends])
            behind = sum(logs[folding.log(p)] - end for p, end in ends.items())
            rows, differences = 0, []
            for partition, table in live.items():
                folded = RunsTable(Path(directory) / f"folded-{partition}", memory)
                end = ends[partition]
                await folding.fold(partition, folded, begins[partition], end, write_aside)
                rows += sum(folded.counts().values())
                differences += list(_differences(partition, table, folded))
                folded.close()
                table.close()
            return Verified(rows=rows, behind=behind, differences=differences)
    finally:
        await stop_consumer(folding.reader)


def _differences(partition: int, live: RunsTable, folded: RunsTable) -> Iterator[Difference]:
    ours, theirs = iter(live.rows()), iter(folded.rows())
    our, their = next(ours, None), next(theirs, None)
    while our or their:
        if our and (not their or our[0] < their[0]):
            yield Difference(partition, our[0], our[1].decode(), None)
            our = next(ours, None)
        elif their and (not our or their[0] < our[0]):
            yield Difference(partition, their[0], None, their[1].decode())
            their = next(theirs, None)
        elif our and their:
            if our[1] != their[1]:
                yield Difference(partition, our[0], our[1].decode(), their[1].decode())
            our, their = next(ours, None), next(theirs, None)
