"""The embedded host on a database: it runs in this process, and its runs outlive it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from .definition import Workflow
from .errors import StreamwfError
from .execute import SystemClock
from .logs import StandardLogger
from .ports import KeyProvider, Logger
from .settings import load
from .stored import StoredHost

#: Seconds between two looks at whether all shards are open.
LOOK = 0.01


@asynccontextmanager
async def stored_host(
    workflows: Sequence[Workflow[Any, Any]],
    store: str,
    key_provider: KeyProvider | None,
    logger: Logger | None,
    log_objects: bool,
) -> AsyncIterator[StoredHost]:
    """Run workflows on a database, all shards of them here, until the block ends.

    Another process that runs one of them in this way on the same database is waited for.

    Raises InvalidDefinition, InvalidSettings, StoreUnreachable, SchemaNewer, and at the block's end
    what has kept a shard from going on.
    """
    from .adapters.stores import open_stores
    from .adapters.tracing import OpenTelemetry

    for workflow in workflows:
        workflow.validate()
    settings = load().model_copy(update={"log_objects": log_objects})
    logger = logger or StandardLogger("streamwf.shard")
    failures: list[StreamwfError] = []

    def fail(error: StreamwfError) -> None:
        failures.append(error)
        logger.error("worker_fails", error=str(error))

    async with open_stores(store, "store", settings) as stores, AsyncExitStack() as alone:
        # In one order, so that no two wait for each other.
        for name in sorted(workflow.name for workflow in workflows):
            await alone.enter_async_context(stores.roles.hold(f"{name}-embedded"))
        host = StoredHost(
            *workflows,
            stores=stores,
            settings=settings,
            tracing=OpenTelemetry(SystemClock()),
            failed=fail,
            key_provider=key_provider,
            logger=logger,
        )
        await host.start()
        try:
            while not failures and not _all_open(host):
                await asyncio.sleep(LOOK)
            if not failures:
                yield host
        finally:
            await host.stop(settings.shutdown_grace.total_seconds())
        if failures:
            raise failures[0]


def _all_open(host: StoredHost) -> bool:
    shards = [shard for name in host.workflows for shard in host.shards(name) if shard.live]
    return len(shards) == len(host.every_shard)
