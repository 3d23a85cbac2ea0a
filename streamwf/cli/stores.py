"""Commands on what lies in a database: `--store` in place of Kafka."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from streamwf.adapters.stores import MEMORY, open_stores, shards_of, store_of
from streamwf.errors import InvalidSettings
from streamwf.settings import Settings
from streamwf.stored import Stores


class Opened(NamedTuple):
    """The stores in a database. shards: of each workflow."""

    stores: Stores
    shards: int


def in_store(settings: Settings) -> bool:
    """Whether a command is for a database."""
    return settings.store is not None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """Raises what `open_stores` does."""
    url, setting = store_of(settings)
    if url == MEMORY:
        why = "what is in memory is gone with its process: give the URL of a database"
        raise InvalidSettings(mistakes=f"- {setting}: {why}")
    async with open_stores(url, setting) as stores:
        yield Opened(stores, shards_of(url))
