"""The relay of the outbox to Kafka: as a process of its own, or within a worker."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import structlog
import uvloop
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry

from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.letters import append_events
from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.topics import Topics, ensure_topics
from streamwf.adapters.relay_metrics import RelayCollector
from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.outbox import SqlOutbox
from streamwf.adapters.stores import named_store
from streamwf.adapters.web import access_of, process_application, serve
from streamwf.agents.keys import WorkerKeys
from streamwf.definition import Workflow
from streamwf.errors import NoStore
from streamwf.events import Event
from streamwf.relay import Log, Relay
from streamwf.settings import Settings

logger = structlog.get_logger("streamwf.relay")


class KafkaLog:
    """The topics of workflows, without a worker. Implements `streamwf.relay.Log`."""

    def __init__(self, workflows: Sequence[Workflow[Any, Any]], settings: Settings) -> None:
        self.workflows = {workflow.name: workflow for workflow in workflows}
        self.max_record_bytes = settings.max_record_bytes
        self._settings = settings
        self._keys = WorkerKeys(workflows, settings, None, logger)
        self._producer = producer(settings)

    async def __aenter__(self) -> Self:
        """Raises BrokerUnreachable, PartitionMismatch and TopicRefused."""
        try:
            await ensure_topics(self.workflows, self._settings)
            await self._keys.start()
            await self._producer.start()
        except BaseException as error:
            await self._stop()
            if isinstance(error, KafkaError):
                raise unreachable(self._settings.brokers, error) from error
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._keys.stop()
        await self._producer.stop()

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        """Raises BrokerUnreachable and RecordTooLarge."""
        topic = Topics.of(workflow, self._settings).events
        try:
            sealed = await self._keys.vaults.sealed_all(workflow, events)
            await append_events(self._producer, topic, self._settings.partitions, sealed)
        except KafkaError as error:
            raise unreachable(self._settings.brokers, error) from error


@asynccontextmanager
async def relay_of(settings: Settings, log: Log) -> AsyncIterator[Relay]:
    """A relay from the store that settings name. It does not run yet.

    Raises NoStore, InvalidSettings, StoreUnreachable and OutboxNotFound.
    """
    named = named_store(settings)
    if named is None:
        raise NoStore()
    url, setting = named
    store = SqlOutbox(create(url, setting), setting)
    try:
        await store.check()
        yield Relay(store, log)
    finally:
        await store.close()


def run_relay(workflows: Sequence[Workflow[Any, Any]], settings: Settings) -> None:
    """Relay the requests of these workflows until SIGTERM or SIGINT.

    Raises StreamwfError for what a person has to mend: no broker, no database, no table in it.
    """
    uvloop.run(_serve(workflows, settings))


async def _serve(workflows: Sequence[Workflow[Any, Any]], settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    access = access_of(settings, logger)
    log = KafkaLog(workflows, settings)
    async with relay_of(settings, log) as relay, log:
        registry = CollectorRegistry()
        registry.register(RelayCollector(relay))
        views = process_application(registry, lambda: relay.trouble or None, access)
        server = await serve(views, settings.web_host, settings.web_port, access.tls)
        logger.info("relay_listens", url=server.url)
        running = asyncio.create_task(relay.run())
        await stop.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.stop()
