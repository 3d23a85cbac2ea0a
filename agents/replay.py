"""Replay: the runs as they were once. Nothing is executed, and nothing is created."""

import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.topics import partitions_of
from streamwf.agents.folding import Folding, Progress, write_aside
from streamwf.definition import Workflow
from streamwf.record import FIRST_KEY, Record
from streamwf.settings import Settings
from streamwf.tables.runs import Memory, RunsTable
from streamwf.until import Until


async def replay(
    workflow: Workflow[Any, Any],
    settings: Settings,
    until: Until,
    progress: Progress,
    take: Callable[[Record], None],
) -> int:
    """Fold what the log had at a time, or up to places in it, and show every run to `take`; return
    how many events.

    until: a time is the broker's of each event. Workers may go on meanwhile.

    Raises BrokerUnreachable, WorkflowNotFound if the workflow has no topics yet, PartitionNotFound
    and PartitionNotNamed.
    """
    partitions = await partitions_of(workflow.name, settings)
    settings = settings.model_copy(update={"partitions": partitions})
    folding = Folding(workflow, settings, progress)
    memory = Memory()
    await folding.reader.start()
    try:
        ends = await _ends(folding, until)
        begins = await folding.measure(ends)
        with tempfile.TemporaryDirectory(prefix="streamwf-replay-") as directory:
            for partition, end in ends.items():
                table = RunsTable(Path(directory) / str(partition), memory)
                try:
                    await folding.fold(partition, table, begins[partition], end, write_aside)
                    for _, record in table.scan(FIRST_KEY):
                        take(record)
                finally:
                    table.close()
        return folding.done
    finally:
        await stop_consumer(folding.reader)


async def _ends(folding: Folding, until: Until) -> dict[int, int]:
    """Where each partition that counts was then: the first event after it, or the end."""
    logs = {p: folding.log(p) for p in range(folding.settings.partitions)}
    ends = await folding.reader.end_offsets(list(logs.values()))
    if not isinstance(until, datetime):
        return {p: min(ends[logs[p]], end) for p, end in until.ends(logs).items()}
    after_ms = int(until.timestamp() * 1000) + 1
    later = await folding.reader.offsets_for_times(dict.fromkeys(logs.values(), after_ms))
    return {p: ends[log] if later[log] is None else later[log].offset for p, log in logs.items()}
