"""The channel between the log and the fold agent: whole batches, one Faust event for each.

Faust's own channels are emptied whenever a rebalance ends, whatever is in them. This one is not:
what was read is folded, or its shard is gone and nobody misses it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import faust
from aiokafka import ConsumerRecord, TopicPartition
from mode.utils.queues import FlowControlEvent, ThrowableQueue

#: Batches that may wait for the agent.
ROOM = 4


class Batch(NamedTuple):
    """What was read from one partition of a log. begin: from where on."""

    log: TopicPartition
    records: Sequence[ConsumerRecord]
    begin: int


class BatchChannel(faust.Channel):
    """A channel of batches."""

    _queue: ThrowableQueue | None

    @property
    def queue(self) -> ThrowableQueue:
        if self._queue is None:
            always = FlowControlEvent(initially_suspended=False)
            self._queue = ThrowableQueue(maxsize=ROOM, flow_control=always)
        return self._queue
