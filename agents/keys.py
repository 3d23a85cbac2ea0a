"""The keys that a worker uses: those in Kafka's topics, unless an outside provider has them."""

from collections.abc import Sequence
from typing import Any

from streamwf.adapters.kafka.keys import KafkaKeys
from streamwf.adapters.kafka.topics import ensure_keys
from streamwf.definition import Workflow
from streamwf.ports import KeyProvider, Logger
from streamwf.settings import Settings
from streamwf.vaults import Vaults


class WorkerKeys:
    """Keys for the workflows of a worker that encrypt, and the vaults that use them."""

    def __init__(
        self,
        workflows: Sequence[Workflow[Any, Any]],
        settings: Settings,
        provider: KeyProvider | None,
        logger: Logger | None,
    ) -> None:
        self._encrypting = [workflow.name for workflow in workflows if workflow.encrypt]
        self._settings = settings
        kafka = KafkaKeys(settings, logger=logger)
        self._kafka = kafka if self._encrypting and provider is None else None
        keys = provider or kafka
        self.vaults = Vaults(workflows, keys, settings.max_record_bytes, self._elsewhere, logger)

    async def start(self) -> None:
        """Raises BrokerUnreachable, PartitionMismatch, TopicRefused and KafkaError."""
        if self._kafka is not None:
            await ensure_keys(self._encrypting, self._settings)
            await self._kafka.start()

    async def stop(self) -> None:
        if self._kafka is not None:
            await self._kafka.stop()

    async def open(self, workflow: str, partition: int) -> None:
        """Know the keys of a shard before anything of it is opened. Raises BrokerUnreachable."""
        if self._kafka is not None and workflow in self._encrypting:
            await self._kafka.open(workflow, partition)

    def close(self, workflow: str, partition: int) -> None:
        if self._kafka is not None:
            self._kafka.close(workflow, partition)

    async def _elsewhere(self, workflow: str) -> bool:
        """A workflow of other workers encrypts if it has a topic of keys."""
        return self._kafka is not None and await self._kafka.has_keys(workflow)
