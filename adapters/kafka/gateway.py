"""The client's way straight to Kafka: it appends what is asked, and hears nothing of it."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple, NoReturn

from streamwf.adapters.kafka.append import LazyProducer
from streamwf.adapters.kafka.letters import append_events
from streamwf.adapters.kafka.topics import Topics, partitions_of
from streamwf.adapters.kafka.triggers import vault_of
from streamwf.callback_views import CallbackRequest, CallbackView
from streamwf.definition import Workflow
from streamwf.errors import NotOverKafka, TopicNotFound, WorkflowNotFound
from streamwf.events import Event
from streamwf.outbox import WAIT, unheard_callback, unheard_trigger
from streamwf.settings import Settings
from streamwf.vault import Vault
from streamwf.views import Trigger


class _Log(NamedTuple):
    """Where events of a workflow go. vault: of one that encrypts."""

    topic: str
    partitions: int
    vault: Vault | None


class KafkaGateway:
    """Appends to the topics of these workflows. That part of `streamwf.gateway.Gateway` for which
    no worker is needed; whatever else is asked raises NotOverKafka.

    It connects when it is first asked something.
    """

    def __init__(self, workflows: Iterable[Workflow[Any, Any]], settings: Settings) -> None:
        self._workflows = {workflow.name: workflow for workflow in workflows}
        self._settings = settings
        self._logs: dict[str, _Log] = {}
        self._producer = LazyProducer(settings)
        self._open = AsyncExitStack()
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        await self._producer.stop()
        await self._open.aclose()

    async def trigger(self, name: str, trigger: Trigger, wait: bool) -> str:
        if wait:
            raise NotOverKafka(what="trigger(wait=True)")
        event = unheard_trigger(self._workflow(name), trigger, self._settings.max_record_bytes)
        await self._append(name, event)
        return event.runid

    async def callback(self, name: str, asked: CallbackRequest) -> CallbackView:
        if not asked.wait_for:
            # It is on its way for a while, as is what it may be an answer to.
            asked = asked.model_copy(update={"wait_for": WAIT.total_seconds()})
        event = unheard_callback(self._workflow(name), asked, self._settings.max_record_bytes)
        await self._append(name, event)
        return CallbackView(outcome="kept")

    def __getattr__(self, name: str) -> NoReturn:
        raise NotOverKafka(what=name)

    def _workflow(self, name: str) -> Workflow[Any, Any]:
        if name not in self._workflows:
            raise WorkflowNotFound(workflow=name, known=", ".join(sorted(self._workflows)))
        return self._workflows[name]

    async def _append(self, name: str, event: Event) -> None:
        """Raises BrokerUnreachable, WorkflowNotFound, TopicNotFound and TooLargeForTopic."""
        async with self._producer.working() as to:
            async with self._turn:
                log = await self._log(name)
            if log.vault is not None:
                event = await log.vault.sealed(event)
            await append_events(to, log.topic, log.partitions, [event])

    async def _log(self, name: str) -> _Log:
        if name not in self._logs:
            partitions = await partitions_of(name, self._settings)
            vault = await self._open.enter_async_context(vault_of(name, self._settings))
            topics = Topics.of(name, self._settings)
            if vault is None and self._workflows[name].encrypt:
                # No worker has made it yet, and nothing goes there in plain.
                raise TopicNotFound(topic=topics.keys, brokers=self._settings.brokers)
            self._logs[name] = _Log(topics.events, partitions, vault)
        return self._logs[name]
