"""Rebuilding the tables from the log, and comparing them with it. Nothing is executed."""

import tempfile
from pathlib import Path
from typing import Any

from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.reader import read_to, stop_consumer
from streamwf.adapters.kafka.topics import (
    app_id_of,
    ensure_topics,
    recreate_changelog,
    running_workers,
)
from streamwf.agents.data_dir import DataDir
from streamwf.agents.folding import Folding, Progress, write_aside
from streamwf.comparing import Difference, Rebuilt, Verified
from streamwf.comparing import differences as compared
from streamwf.definition import Workflow
from streamwf.errors import WorkersRunning
from streamwf.searched import terms_of
from streamwf.settings import Settings
from streamwf.tables.runs import Memory, RunsTable


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
    data = DataDir(settings.data_dir, {workflow.name: terms_of(workflow)})
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
                await folding.fold(partition, table, begins[partition], end, changelog.write_bare)
                for _ in table.derive():
                    pass
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
            behind = 0
            for partition, end in ends.items():
                log = folding.log(partition)
                # Counted: of offsets, transactions take some for what is no event.
                async for events in read_to(folding.reader, log, end, logs[log]):
                    behind += len(events)
            rows, differences = 0, list[Difference]()
            for partition, table in live.items():
                folded = RunsTable(Path(directory) / f"folded-{partition}", memory)
                end = ends[partition]
                await folding.fold(partition, folded, begins[partition], end, write_aside)
                rows += sum(folded.counts().values())
                differences += compared(partition, table.rows(), folded.rows())
                folded.close()
                table.close()
            return Verified(rows=rows, behind=behind, differences=differences)
    finally:
        await stop_consumer(folding.reader)
