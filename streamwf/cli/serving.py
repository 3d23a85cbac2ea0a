"""Serving the web views of a host of this process, for `streamwf dev`."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from streamwf.adapters.stores import open_stores
from streamwf.adapters.tracing import OpenTelemetry
from streamwf.adapters.web import NoPeers, StorePeers, access_of, application, serve, url_of
from streamwf.cli.targets import AnyWorkflow
from streamwf.embedded import EmbeddedHost
from streamwf.errors import StreamwfError
from streamwf.execute import SystemClock
from streamwf.operations import Operations
from streamwf.settings import Settings
from streamwf.stored import StoredHost

logger = structlog.get_logger("streamwf.worker")


@dataclass(frozen=True, slots=True)
class Served:
    """A host whose views are served. failed: set to an error after which it can't go on.

    ca_file: what its certificate is checked with, if it has one and the system does not do.
    """

    url: str
    ca_file: Path | None
    failed: asyncio.Future[StreamwfError]


@asynccontextmanager
async def in_memory(workflows: Sequence[AnyWorkflow], settings: Settings) -> AsyncIterator[Served]:
    access = access_of(settings, logger)
    host = EmbeddedHost(
        *workflows,
        max_record_bytes=settings.max_record_bytes,
        threads=settings.threads,
        log_objects=settings.log_objects,
    )
    await host.start()
    try:
        web = application(
            Operations(host), NoPeers(), lambda: None, access=access, page=settings.page_dir
        )
        server = await serve(web, settings.web_host, settings.web_port, access.tls)
        try:
            yield Served(
                server.url, settings.web_ca_file, asyncio.get_running_loop().create_future()
            )
        finally:
            await server.stop()
    finally:
        await host.stop(settings.shutdown_grace.total_seconds())


@asynccontextmanager
async def on_store(
    workflows: Sequence[AnyWorkflow], settings: Settings, url: str, setting: str
) -> AsyncIterator[Served]:
    """Raises what `open_stores` and `access_of` do."""
    access = access_of(settings, logger)
    failed: asyncio.Future[StreamwfError] = asyncio.get_running_loop().create_future()

    def fail(error: StreamwfError) -> None:
        if not failed.done():
            failed.set_result(error)

    port = settings.web_port or free_port(settings.web_host)
    secure = settings.web_cert_file is not None
    address = settings.advertise or url_of(settings.web_host, port, secure)
    async with open_stores(url, setting, settings, address) as stores:
        host = StoredHost(
            *workflows,
            stores=stores,
            settings=settings,
            tracing=OpenTelemetry(SystemClock()),
            failed=fail,
            address=address,
        )
        peers = StorePeers(address, host.shard_id_of, host.address_of, host.every_shard)
        web = application(
            Operations(host), peers, peers.not_ready, access=access, page=settings.page_dir
        )
        server = await serve(web, settings.web_host, port, access.tls)
        logger.info("worker_listens", url=server.url, page=f"{server.url}/")
        try:
            await host.start()
            try:
                yield Served(server.url, settings.web_ca_file, failed)
            finally:
                await host.stop(settings.shutdown_grace.total_seconds())
        finally:
            await server.stop()


def free_port(host: str) -> int:
    """A port of an address that nobody listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as probe:
        port: int = probe.getsockname()[1]
        return port
