"""Asking a worker over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from streamwf.adapters.endpoints import Endpoint

if TYPE_CHECKING:
    from streamwf.adapters.http import HttpGateway

Answer = TypeVar("Answer")


def ask(at: Endpoint, question: Callable[["HttpGateway"], Awaitable[Answer]]) -> Answer:
    """One question to a worker."""
    from streamwf.adapters.http import HttpGateway

    async def asked() -> Answer:
        gateway = HttpGateway(at)
        try:
            return await question(gateway)
        finally:
            await gateway.close()

    return asyncio.run(asked())
