"""The Faust app of a worker: membership and assignment, the fold agent, the timer agent, the web.

Those who run Faust already make one with `faust_app` and start it with `faust -A MODULE worker`;
`streamwf worker` starts the same app.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import faust
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import InvalidSessionTimeoutError, KafkaError
from faust.app.base import BootStrategy
from faust.types import TP
from prometheus_client.registry import Collector
from yarl import URL

from streamwf.access import Authenticator
from streamwf.adapters.kafka.outages import outages
from streamwf.adapters.kafka.reach import unreachable
from streamwf.adapters.kafka.topics import Topics, app_id_of, check_group, ensure_topics
from streamwf.adapters.relay_metrics import RelayCollector
from streamwf.adapters.table_metrics import TableCollector
from streamwf.adapters.web import Server, access_of, application, serve
from streamwf.agents.assignment import WorkflowTable, WorkflowTableManager
from streamwf.agents.batches import Batch, BatchChannel
from streamwf.agents.host import KafkaHost
from streamwf.agents.membership import NO_FETCH, Membership
from streamwf.agents.peers import FaustPeers
from streamwf.agents.transport import SCHEME, credentials
from streamwf.definition import Workflow
from streamwf.errors import SessionTimeoutRefused, StreamwfError
from streamwf.operations import Operations
from streamwf.ports import KeyProvider, Logger
from streamwf.settings import Settings, load

#: Seconds between two looks at the timer tables: often, so that each may be short. What is near has
#: been read by most of them already, and then they read nothing.
SCAN = 0.1

#: Stands for "a free one" where Faust wants a number.
ANY_PORT = 1


class WithoutFaustsWeb(BootStrategy):
    """The worker's own views are served instead, on loopback unless told otherwise."""

    enable_web = False


class WorkflowApp(faust.App):
    """A Faust app that runs workflows."""

    BootStrategy = WithoutFaustsWeb

    def prepare(
        self,
        workflows: tuple[Workflow[Any, Any], ...],
        settings: Settings,
        key_provider: KeyProvider | None,
        logger: Logger | None,
        authenticator: Authenticator | None,
    ) -> None:
        """What `faust_app` does once Faust's own part is made."""
        self.settings = settings
        self.fatal: StreamwfError | None = None
        self.failing = asyncio.Event()
        self.host = KafkaHost(
            workflows,
            settings,
            may_start=self._may_start,
            failed=self._fail,
            deliver=self._deliver,
            key_provider=key_provider,
            logger=logger,
        )
        self.peers = FaustPeers(self)
        self._access = access_of(settings, self.host.logger, authenticator)
        self.server: Server | None = None
        self._relaying = AsyncExitStack()
        self._outages = AsyncExitStack()
        self.membership = Membership.of(settings)
        self._generation = -1
        self._moving = False
        self._opening: asyncio.Task[None] | None = None
        self._batches = BatchChannel(self)
        self.agent(self._batches, name="streamwf.fold")(self._fold)
        self.timer(interval=SCAN)(self._scan_timers)
        self.on_partitions_revoked.connect(self._on_revoked)
        for name in self.host.workflows:
            self._declare(name)

    def _declare(self, name: str) -> None:
        """Let Faust assign the shards of a workflow, by its changelog's partitions."""
        changelog = self.topic(
            Topics.of(name, self.settings).changelog,
            partitions=self.settings.partitions,
            key_serializer="raw",
            value_serializer="raw",
        )
        self.tables.add(
            WorkflowTable(
                self,
                name=f"{name}.runs",
                partitions=self.settings.partitions,
                changelog_topic=changelog,
                key_type=bytes,
                value_type=bytes,
            )
        )

    # ---- life cycle

    async def on_first_start(self) -> None:
        self.conf.datadir.mkdir(parents=True, exist_ok=True)
        await super().on_first_start()

    async def on_start(self) -> None:
        """Raises StreamwfError for what a person has to mend."""
        try:
            await ensure_topics(self.host.workflows, self.settings)
            await check_group(self.conf.id, self.settings)
            followed = outages.followed(self.settings.brokers, lambda: self.consumer.heard_at)
            await self._outages.enter_async_context(followed)
            await self.host.start()
            collectors: list[Collector] = [TableCollector(self.host.data.memory.used)]
            if self.settings.relay:
                collectors.append(await self._start_relay())
            operations = Operations(self.host)
            web = application(
                operations,
                self.peers,
                self.not_ready,
                access=self._access,
                collectors=collectors,
                page=self.settings.page_dir,
            )
            # `faust worker --web-port` says where this worker listens, too.
            port = int(self.conf.web_port) if self.settings.web_port else 0
            self.server = await serve(web, self.settings.web_host, port, self._access.tls)
        except KafkaError as error:
            raise unreachable(self.settings.brokers, error) from error
        self.conf.canonical_url = URL(self.settings.advertise or self.server.url)
        listens = self.server.url
        self.host.logger.info("worker_listens", url=listens, page=f"{listens}/")
        await super().on_start()

    async def _start_relay(self) -> RelayCollector:
        """Raises what `relay_of` does."""
        # SQLAlchemy takes its time to import.
        from streamwf.agents.relay import relay_of

        relay = await self._relaying.enter_async_context(relay_of(self.settings, self.host))
        running = asyncio.create_task(relay.run())

        async def stop() -> None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

        self._relaying.push_async_callback(stop)
        return RelayCollector(relay)

    async def on_stop(self) -> None:
        await self._relaying.aclose()
        if self.server is not None:
            await self.server.stop()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        # Before this worker leaves the group, so that nothing is in doubt for the next owners.
        await self.host.stop()
        await super().on_stop()
        await self._outages.aclose()

    def not_ready(self) -> str | None:
        """Why this worker can't answer for its shards yet; None if it can."""
        if self._opening is None:
            return "waiting for shards"
        if self._moving:
            return "shards are being shared out"
        if not self._may_start():
            return "the group has not heard from this worker for too long"
        recovering = self.host.recovering()
        if recovering is None and not self._opening.done():
            return "shards are being opened"
        return recovering

    def refused(self, error: KafkaError) -> None:
        """The group does not take this worker."""
        if isinstance(error, InvalidSessionTimeoutError):
            self._fail(SessionTimeoutRefused(session_timeout=f"{self.membership.session:g}s"))

    def _fail(self, error: StreamwfError) -> None:
        if self.fatal is None:
            self.fatal = error
            self.host.logger.error("worker_fails", error=str(error))
            self.failing.set()
            # Tells whoever runs the app, be it `streamwf worker` or Faust's own.
            self._crashing = asyncio.ensure_future(self.crash(error))

    # ---- ownership

    async def assign_shards(self, active: set[TP], standby: set[TP], generation: int) -> None:
        """Take what a rebalance has given. Opening shards goes on beside it."""
        changelogs = {
            Topics.of(name, self.settings).changelog: name for name in self.host.workflows
        }
        wanted = {(changelogs[tp.topic], tp.partition) for tp in active}
        copies = {(changelogs[tp.topic], tp.partition) for tp in standby}
        # If the group went on without this worker, others may have owned its shards meanwhile.
        missed = generation != self._generation + 1
        self._generation = generation
        self.consumer.joined()
        self._moving = False
        self._opening = asyncio.create_task(self.host.assign(wanted, copies, missed=missed))

    async def _on_revoked(self, app: faust.App, revoked: set[TP], **kwargs: Any) -> None:
        # Nobody has a new assignment before everybody was told to give up the former one.
        self._moving = True
        await self.host.quiesce(self.membership.quiesce)

    def _may_start(self) -> bool:
        heard_at: float = self.consumer.heard_at
        return monotonic() - heard_at < self.membership.lease

    # ---- agents

    async def _deliver(
        self, log: TopicPartition, records: Sequence[ConsumerRecord], begin: int
    ) -> None:
        # Put, not sent: what is sent becomes an event of Faust's, and its streams pass over events
        # that reach them while the group rebalances.
        await self._batches.put(Batch(log, records, begin))

    async def _fold(self, stream: Any) -> None:
        """The fold agent: run state is the fold of these batches."""
        async for batch in stream:
            await self.host.fold(*batch)

    async def _scan_timers(self, app: Any = None) -> None:
        """The timer agent: reads what comes due next from the timer tables."""
        self.host.scan_timers()


def faust_app(
    *workflows: Workflow[Any, Any],
    settings: Settings | None = None,
    key_provider: KeyProvider | None = None,
    logger: Logger | None = None,
    authenticator: Authenticator | None = None,
) -> WorkflowApp:
    """A Faust app that runs these workflows, for `faust -A MODULE worker`.

    settings: their values in the environment come first. key_provider: has the keys of the runs
        of workflows that encrypt; Kafka, unless given. logger: takes what the worker logs;
        structlog, unless given. authenticator: says who asks over HTTP, before those of the
        settings.

    Raises InvalidDefinition, InvalidSettings and AccessNotConfigured.
    """
    for workflow in workflows:
        workflow.validate()
    chosen = load(code=settings)
    # `faust --datadir` says it so.
    told = os.environ.get("FAUST_DATADIR")
    if told:
        chosen = chosen.model_copy(update={"data_dir": Path(told)})
    login = credentials(chosen)
    brokers = [URL(f"{SCHEME}://{broker.strip()}") for broker in chosen.brokers.split(",")]
    membership = Membership.of(chosen)
    app = WorkflowApp(
        app_id_of([workflow.name for workflow in workflows], chosen),
        broker=brokers,
        broker_credentials=login,
        store="memory://",
        datadir=str(chosen.data_dir / "faust"),
        topic_partitions=chosen.partitions,
        topic_replication_factor=chosen.replication_factor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=chosen.standby_replicas,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=membership.session,
        broker_heartbeat_interval=membership.heartbeat,
        broker_max_poll_interval=NO_FETCH,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        web_port=chosen.web_port or ANY_PORT,
        TableManager=WorkflowTableManager,
        loghandlers=[],
    )
    app.prepare(workflows, chosen, key_provider, logger, authenticator)
    return app
