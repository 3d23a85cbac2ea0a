"""Triggering straight to Kafka, without a worker: for piles of triggers."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec
from aiokafka import AIOKafkaProducer

from streamwf import events
from streamwf.adapters.kafka.append import append_batch, producer
from streamwf.adapters.kafka.topics import Topics, partition_of, partitions_of
from streamwf.changing import run_id_of
from streamwf.events import encode_event
from streamwf.settings import Settings
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

    Raises BrokerUnreachable, and WorkflowNotFound if the workflow has no topic yet.
    """
    topic = Topics.of(workflow, settings).events
    partitions = await partitions_of(workflow, settings)
    to = producer(settings)
    await to.start()
    try:
        done = 0
        piles: Piles = {}
        for number, trigger in enumerate(triggers, 1):
            partition = partition_of(trigger.foreign_id, partitions)
            piles.setdefault(partition, []).append(_record(workflow, trigger))
            if number % PILE == 0:
                done += await _append(to, topic, piles)
                progress(done)
        done += await _append(to, topic, piles)
        progress(done)
        return done
    finally:
        await to.stop()


Piles = dict[int, list[tuple[bytes, bytes]]]


async def _append(to: AIOKafkaProducer, topic: str, piles: Piles) -> int:
    count = 0
    for partition, records in piles.items():
        await append_batch(to, topic, partition, records)
        count += len(records)
    piles.clear()
    return count


def _record(workflow: str, trigger: Trigger) -> tuple[bytes, bytes]:
    run_id = run_id_of(workflow, trigger)
    event = events.request(
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
    return trigger.foreign_id.encode(), encode_event(event)
