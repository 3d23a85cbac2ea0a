"""Commands on what lies in stores: `--store` in place of Kafka's own workers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamwf.adapters.certificates import mistaken
from streamwf.adapters.stores import MEMORY, open_stores, store_of
from streamwf.settings import Settings
from streamwf.stored import Stores


def in_store(settings: Settings) -> bool:
    """Whether a command is for a store."""
    return settings.store is not None or settings.log == "kafka"


@asynccontextmanager
async def opened(workflow: str, settings: Settings) -> AsyncIterator[Stores]:
    """The stores, to look at a workflow that is there: nothing is made. How many partitions its
    topics have is theirs to say.

    Raises what `open_stores` does, and WorkflowNotFound if it has no topics yet.
    """
    url, setting = store_of(settings)
    if url == MEMORY:
        why = "what is in memory is gone with its process: give the URL of a database"
        raise mistaken(setting, why)
    if settings.log == "kafka":
        from streamwf.adapters.kafka.topics import partitions_of

        partitions = await partitions_of(workflow, settings)
        settings = settings.model_copy(update={"partitions": partitions})
    async with open_stores(url, setting, settings, make=False) as stores:
        yield stores
