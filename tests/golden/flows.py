"""The workflows whose histories are kept: the shop of the proofs, with all that it can have.

Their code may grow, and what is kept must go on with it.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from streamwf.embedded import EmbeddedHost, MemoryLog
from streamwf.ports import KeyProvider
from streamwf.sources import Message, Start, from_iterator
from streamwf.testing import GRACE, PATIENCE, Engine, SteppedClock
from tests.proof.shop import Order, Recorder, Shop, Status, a_shop

#: By its name, what else a workflow is told.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "encrypted": {"encrypt": True},
    "retained": {"retention": timedelta(hours=2)},
}


def a_golden_shop(name: str, recorder: Recorder) -> Shop:
    shop = a_shop(recorder, name, **KINDS[name])

    @shop.schedule("daily", "@every 24h", foreign_id="of-the-day", overlap="start", catch_up=2)
    def daily(slot: datetime) -> Order:
        return Order(secret=f"secret of {slot:%d.%m.}")

    async def lines(position: str | None) -> AsyncIterator[tuple[str, Any]]:
        if position is None:
            yield "1", {"id": "from-a-feed"}

    @shop.connector(from_iterator(lines))
    def feed(message: Message) -> Start[Order, Status]:
        return Start(message.json()["id"], Order(secret="secret of a feed"))

    return shop


@asynccontextmanager
async def an_engine(
    shop: Shop,
    clock: SteppedClock,
    keys: KeyProvider,
    logs: Mapping[str, MemoryLog] | None = None,
) -> AsyncIterator[Engine]:
    """logs: those that are there already."""
    host = EmbeddedHost(shop, clock=clock, logs=logs, key_provider=keys)
    try:
        await host.start()
        yield Engine(host, clock, PATIENCE)
    finally:
        await host.stop(GRACE)
