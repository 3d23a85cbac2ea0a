"""Looking at every run that the topics lead to. Nothing is executed, and nothing is created."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamwf.adapters.kafka.changelog import Changelog
from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.topics import partitions_of
from streamwf.agents.folding import Folding, Progress, write_aside
from streamwf.definition import Workflow
from streamwf.record import FIRST_KEY, Record
from streamwf.settings import Settings
from streamwf.tables.runs import Memory, RunsTable


async def each_run(
    workflow: Workflow[Any, Any],
    settings: Settings,
    progress: Progress,
    take: Callable[[Record], None],
) -> None:
    """Show every run of a workflow to `take`, as the end of the log leaves it.

    Workers may go on meanwhile. progress: called with the number of partitions that are done, and
    of all there are. How many the topics have is theirs to say, and not the settings'.

    Raises BrokerUnreachable, and WorkflowNotFound if the workflow has no topics yet.
    """
    partitions = await partitions_of(workflow.name, settings)
    settings = settings.model_copy(update={"partitions": partitions})
    folding = Folding(workflow, settings, lambda done, total: None)
    memory = Memory()
    await folding.reader.start()
    try:
        for partition in range(partitions):
            progress(partition, partitions)
            with tempfile.TemporaryDirectory(prefix="streamwf-check-") as directory:
                table = RunsTable(Path(directory) / "runs", memory)
                try:
                    await _bring_up(folding, partition, table)
                    for _, record in table.scan(FIRST_KEY):
                        take(record)
                finally:
                    table.close()
        progress(partitions, partitions)
    finally:
        await stop_consumer(folding.reader)


async def _bring_up(folding: Folding, partition: int, table: RunsTable) -> None:
    """Bring a table up to the end of its changelog, and from there to the end of the log."""
    await Changelog(folding.topics.changelog, partition, folding.settings).recover(table)
    log = folding.log(partition)
    end = (await folding.reader.end_offsets([log]))[log]
    await folding.fold(partition, table, table.position or 0, end, write_aside)
