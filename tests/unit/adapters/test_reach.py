"""What it means that a broker hangs up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamwf.adapters.kafka import reach
from streamwf.errors import BrokerUnreachable, ProtocolRefused
from streamwf.settings import KafkaSecurity


@asynccontextmanager
async def hanging_up(*, times: int) -> AsyncIterator[str]:
    """The address of a server that hangs up on so many connections, and is gone then."""
    taken = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        taken += 1
        if taken == times:
            server.close()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1")
    try:
        yield "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
    finally:
        server.close()


@pytest.mark.parametrize(
    ("times", "means"), [(1, BrokerUnreachable), (2, ProtocolRefused)], ids=["once", "always"]
)
async def test_a_broker_that_hangs_up(
    monkeypatch: pytest.MonkeyPatch, times: int, means: type[BrokerUnreachable]
) -> None:
    monkeypatch.setattr(reach, "AGAIN", 0.0)
    async with hanging_up(times=times) as brokers:
        with pytest.raises(BrokerUnreachable) as failed:
            await reach.reach(brokers, KafkaSecurity())
    assert type(failed.value) is means
