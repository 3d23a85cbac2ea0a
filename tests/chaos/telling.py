"""The story of what happened, from the topics themselves and from what was recorded beside them."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamwf.adapters.kafka.reader import stop_consumer
from streamwf.adapters.kafka.topics import partition_of
from streamwf.agents.data_dir import DataDir
from streamwf.agents.folding import Folding, write_aside
from streamwf.ports import LogRecord
from streamwf.record import Record, decode_record
from streamwf.searched import terms_of
from streamwf.settings import Settings
from streamwf.tables.runs import Memory, RunsTable
from tests.chaos.flows import orders
from tests.chaos.recorder import Noted
from tests.kafka.cluster import PARTITIONS, Cluster
from tests.proof.story import Asked, Story

#: How long a worker may be behind on a machine that has too much to do, beside what was done to it.
LEASE = timedelta(minutes=1)

Rows = Mapping[int, Mapping[str, Record]]


def rows_of(table: RunsTable) -> dict[str, Record]:
    return {key: decode_record(row) for key, row in table.rows()}


async def tell(
    cluster: Cluster,
    noted: Sequence[Noted],
    asked: Sequence[Asked],
    *,
    calm_at: datetime,
    settled: bool,
    faults: Mapping[str, int],
    longest: float,
    exactly_once: bool,
) -> Story:
    """Read all of it from the broker. Workers may go on. longest: seconds of the longest fault."""
    logs: dict[int, list[LogRecord]] = {number: [] for number in range(PARTITIONS)}
    for record in await cluster.records(cluster.topics.events, committed=True):
        logs[record.partition].append(record)
    letters = await cluster.records(cluster.topics.dead_letters, committed=True)
    rows, folded = await _tables(cluster.settings)
    executed = [each.executed for each in noted]
    names = {call.foreign_id for call in executed} | {request.foreign_id for request in asked}
    return Story(
        workflow=orders,
        partition_of={name: partition_of(name, PARTITIONS) for name in names},
        calm_at=calm_at,
        ended_at=datetime.now(UTC),
        logs=logs,
        rows=rows,
        recovered={"folded from the beginning": folded},
        executed=executed,
        asked=asked,
        letters=frozenset(filter(None, (_id_of(letter.value) for letter in letters))),
        settled=settled,
        faults=faults,
        skew=2 * max((abs(each.ahead) for each in noted), default=timedelta(0)),
        # Two of them may have come one upon the other.
        lease=LEASE + 2 * timedelta(seconds=longest),
        exactly_once=exactly_once,
    )


def _id_of(value: bytes | None) -> str:
    try:
        return str(json.loads(value or b"{}").get("id", ""))
    except (ValueError, AttributeError):
        return ""


async def _tables(settings: Settings) -> tuple[Rows, Rows]:
    """The rows of each shard as its changelog has them, and as its log leads to them from its
    beginning to where the changelog is."""
    folding = Folding(orders, settings, lambda done, total: None)
    await folding.reader.start()
    memory = Memory()
    live: dict[int, dict[str, Record]] = {}
    folded: dict[int, dict[str, Record]] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="streamwf-chaos-") as directory:
            for partition, table in (await folding.live_tables(Path(directory), memory)).items():
                aside = RunsTable(Path(directory) / f"folded-{partition}", memory)
                await folding.fold(partition, aside, 0, table.position or 0, write_aside)
                live[partition], folded[partition] = rows_of(table), rows_of(aside)
                aside.close()
                table.close()
        return live, folded
    finally:
        await stop_consumer(folding.reader)


def with_own_tables(story: Story, owners: Mapping[Path, set[int]]) -> Story:
    """The story with what lies in the data directories of workers, which have ended by now.

    owners: the shards whose tables are to be the owner's, by the directory.
    """
    found: dict[int, dict[str, Record]] = {}
    for place, shards in owners.items():
        data = DataDir(place, {orders.name: terms_of(orders)})
        try:
            for shard in shards:
                found[shard] = rows_of(data.table((orders.name, shard)))
        finally:
            data.close()
    return replace(story, recovered={**story.recovered, "in its owner's directory": found})
