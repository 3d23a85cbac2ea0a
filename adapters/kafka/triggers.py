"""Triggering straight to Kafka, without a worker: for piles of triggers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec

from streamwf import events
from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.keys import KafkaKeys
from streamwf.adapters.kafka.letters import append_events
from streamwf.adapters.kafka.reach import DENIED, unreachable
from streamwf.adapters.kafka.topics import Topics, encrypts, partitions_of
from streamwf.changing import run_id_of
from streamwf.events import Event
from streamwf.settings import Settings
from streamwf.vault import Vault
from streamwf.views import Trigger

#: Triggers that are appended between two reports of progress.
PILE = 5_000


async def append_triggers(
    workflow: str,
    triggers: Iterable[Trigger],
    settings: Settings,
    progress: Callable[[int], None],
) -> int:
    """Append triggers to a workflow's log, and return how many. The workers judge them.

    progress: called with the number appended so far.

    Raises BrokerUnreachable, AccessDenied, and WorkflowNotFound if the workflow has no topic yet.
    """
    topic = Topics.of(workflow, settings).events
    partitions = await partitions_of(workflow, settings)
    to = producer(settings)
    try:
        await to.start()
        done = 0
        async with vault_of(workflow, settings) as vault:
            left = iter(triggers)
            while pile := [_event(workflow, each) for each in itertools.islice(left, PILE)]:
                if vault is not None:
                    pile = await asyncio.gather(*map(vault.sealed, pile))
                await append_events(to, topic, partitions, pile)
                done += len(pile)
                progress(done)
        return done
    except DENIED as error:
        raise unreachable(settings.brokers, error) from error
    finally:
        await to.stop()


@asynccontextmanager
async def vault_of(workflow: str, settings: Settings) -> AsyncIterator[Vault | None]:
    """That of a workflow with keys on Kafka; None for one that does not encrypt."""
    if not await encrypts(workflow, settings):
        yield None
        return
    keys = KafkaKeys(settings)
    await keys.start()
    try:
        yield Vault(workflow, keys)
    finally:
        await keys.stop()


def _event(workflow: str, trigger: Trigger) -> Event:
    run_id = run_id_of(workflow, trigger)
    return events.request(
        workflow,
        events.TRIGGER,
        trigger.foreign_id,
        datetime.now(UTC),
        event_id=run_id,
        runid=run_id,
        status=trigger.status or "",
        data=msgspec.json.encode(trigger.object),
        startat=trigger.start_at,
    )
