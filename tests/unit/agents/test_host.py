"""What the host does with what shards hand out."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streamwf.agents.host import KafkaHost
from streamwf.agents.ownership import OwnedShard
from streamwf.embedded import MemoryRecord
from streamwf.lanes import Paces
from streamwf.measures import Measures
from streamwf.settings import Settings
from streamwf.shard import Limits, Shard
from streamwf.tables.memory import MemoryTable
from tests.support import Lines
from tests.unit.sample import orders


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


def a_host(place: Path) -> KafkaHost:
    settings = Settings(data_dir=place)
    host = KafkaHost([orders()], settings, may_start=lambda: True, failed=print, logger=Lines())
    host._producer = object()  # type: ignore[assignment]
    return host


def an_owned_shard(host: KafkaHost, threads: ThreadPoolExecutor) -> OwnedShard:
    table: Any = MemoryTable()
    [workflow] = host.workflows.values()
    owned = OwnedShard(
        workflow,
        0,
        table,
        host.settings,
        clock=host.clock,
        threads=threads,
        wake=host._on_wake,
        may_start=lambda: True,
        inner={},
        paces=Paces(host.clock),
        vaults=host.vaults,
        tracing=host.tracing,
        measures=Measures(),
        logger=host.logger,
        broadcast=host.broadcast,
    )
    owned.shard = Shard(
        workflow,
        0,
        table,
        end=0,
        clock=host.clock,
        threads=threads,
        wake=lambda: host._on_wake(owned),
        misplaced=lambda _: False,
        limits=Limits(),
    )
    return owned


async def test_what_a_shard_has_set_aside_holds_up_nobody_once_it_is_closed(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = a_host(tmp_path)
    owned = an_owned_shard(host, threads)
    sent, send = 0, owned.send_asides

    async def counted(producer: Any) -> None:
        nonlocal sent
        sent += 1
        assert sent < 100, "it goes round and round, and never lets others have their turn"
        await send(producer)

    monkeypatch.setattr(owned, "send_asides", counted)
    assert owned.shard is not None
    owned.shard.fold([MemoryRecord(0, b"o-1", b"no event", 0)])
    await owned.close()
    [appending] = host._appending.values()
    async with asyncio.timeout(30):
        await appending
    assert owned.shard.has_output
    assert (sent, host._appending) == (0, {})
