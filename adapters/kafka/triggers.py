"""Triggering straight to Kafka, without a worker: for piles of triggers."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from streamwf.adapters.kafka.append import producer
from streamwf.adapters.kafka.letters import append_events
from streamwf.adapters.kafka.reach import DENIED, unreachable
from streamwf.adapters.kafka.topics import Topics, encrypts, partitions_of
from streamwf.events import TRIGGER, Event, request
from streamwf.ids import random_ids, run_id_of
from streamwf.lines import Line
from streamwf.settings import Settings
from streamwf.views import Trigger

if TYPE_CHECKING:
    from streamwf.vault import Vault

#: Triggers that are appended at a time, and those of the next ones that are made ready before the
#: appending has its turn.
PILE, SLICE = 5_000, 250


async def append_triggers(
    workflow: str,
    triggers: Iterable[Trigger | Line],
    settings: Settings,
    progress: Callable[[int], None],
) -> int:
    """Append triggers to a workflow's log, and return how many. The workers judge them.

    progress: called with the number appended so far. More of them may have been taken by then.

    Raises BrokerUnreachable, AccessDenied, and WorkflowNotFound if the workflow has no topic yet.
    """
    topic = Topics.of(workflow, settings).events
    partitions = await partitions_of(workflow, settings)
    to = producer(settings)
    try:
        await to.start()
        done = 0
        async with vault_of(workflow, settings) as vault:
            left = _events(workflow, triggers)
            pile = await _pile(left, vault)
            while pile:
                # Together they take as long as one of them; one after the other keeps the order.
                appending = asyncio.create_task(append_events(to, topic, partitions, pile))
                try:
                    upcoming = await _pile(left, vault)
                finally:
                    await appending
                done += len(pile)
                progress(done)
                pile = upcoming
        return done
    except DENIED as error:
        raise unreachable(settings.brokers, error) from error
    finally:
        await to.stop()


@asynccontextmanager
async def vault_of(workflow: str, settings: Settings) -> AsyncIterator["Vault | None"]:
    """That of a workflow with keys on Kafka; None for one that does not encrypt."""
    if not await encrypts(workflow, settings):
        yield None
        return
    from streamwf.adapters.kafka.keys import KafkaKeys
    from streamwf.vault import Vault

    keys = KafkaKeys(settings)
    await keys.start()
    try:
        yield Vault(workflow, keys)
    finally:
        await keys.stop()


async def _pile(left: Iterator[Event], vault: "Vault | None") -> list[Event]:
    """The next events, sealed if there is a vault."""
    pile: list[Event] = []
    while len(pile) < PILE:
        await asyncio.sleep(0)
        part = list(itertools.islice(left, SLICE))
        if not part:
            break
        pile += part if vault is None else await asyncio.gather(*map(vault.sealed, part))
    return pile


def _events(workflow: str, triggers: Iterable[Trigger | Line]) -> Iterator[Event]:
    new = random_ids().__next__
    for trigger in triggers:
        run_id = run_id_of(workflow, trigger, new)
        yield request(
            workflow,
            TRIGGER,
            trigger.foreign_id,
            datetime.now(UTC),
            event_id=run_id,
            runid=run_id,
            status=trigger.status or "",
            startat=trigger.start_at,
            data=msgspec.json.encode(trigger.object),
        )
