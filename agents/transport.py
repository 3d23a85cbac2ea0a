"""Faust's Kafka transport, with a lease: how lately the group has heard from this worker.

A worker that was stopped and goes on can't know at first that it has lost its shards. The lease
can: it ends well before the group gives the shards to others.
"""

from time import monotonic
from typing import Any

from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver

from streamwf.adapters.kafka.security import client_arguments
from streamwf.settings import Settings

#: The URL scheme by which a Faust app asks for this transport.
SCHEME = "streamwf"


def credentials(settings: Settings) -> SASLCredentials | SSLCredentials | None:
    """What Faust's own clients are to log in with. Raises InvalidSettings."""
    arguments = client_arguments(settings.brokers, settings)
    context = arguments.get("ssl_context")
    if "sasl_mechanism" in arguments:
        return SASLCredentials(
            mechanism=arguments["sasl_mechanism"],
            username=arguments["sasl_plain_username"],
            password=arguments["sasl_plain_password"],
            ssl_context=context,
        )
    return None if context is None else SSLCredentials(context)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Notes when the group last answered a heartbeat, and tells if it does not take this worker."""

    heard_at = 0.0

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = self._ensure_consumer()._coordinator
        heartbeat = coordinator._do_heartbeat

        async def noted() -> Any:
            sent_at = monotonic()
            answered = await heartbeat()
            if answered:
                self.heard_at = sent_at
            return answered

        refused = coordinator._push_error_to_user

        def told(error: Exception) -> Any:
            # It waits for whoever reads from this consumer next, and nobody does.
            self.app.loop.call_soon_threadsafe(self.app.refused, error)
            return refused(error)

        coordinator._do_heartbeat = noted
        coordinator._push_error_to_user = told


class Consumer(driver.Consumer):
    """Faust's consumer, for membership of the group and for users' own agents."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def heard_at(self) -> float:
        """When the group last heard from this worker, by the monotonic clock."""
        return float(self._thread.heard_at)

    def joined(self) -> None:
        """The group has just given this worker its partitions."""
        self._thread.heard_at = monotonic()

    def verify_event_path(self, now: float, tp: Any) -> None:
        """The shards' changelogs are never read by this consumer, and that is no error."""
        if tp.topic not in self.app.tables.changelog_topics:
            super().verify_event_path(now, tp)


class Transport(driver.Transport):
    Consumer = Consumer


TRANSPORTS.aliases[SCHEME] = "streamwf.agents.transport:Transport"
