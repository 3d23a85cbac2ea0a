"""Gaps in what was read of a log: read again before they are believed.

Nothing should be lost between the broker and the fold. If it is all the same, a fold that went on
would leave a run standing still for ever, so every gap is looked at twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from streamwf.ports import Logger

_logger: Logger = structlog.get_logger("streamwf.log")


class Gaps:
    """Tells what is to be left alone because something before it is missing.

    reread: reads a log anew from where its shard is, and delivers an empty batch after all that
    was read before. logger: told of each gap.
    """

    def __init__(
        self,
        reread: Callable[[TopicPartition], Awaitable[None]],
        logger: Logger | None = None,
    ) -> None:
        self._logger = logger or _logger
        self._reread = reread
        self._rereading: dict[TopicPartition, asyncio.Future[None]] = {}
        self._real: dict[TopicPartition, int] = {}

    def forget(self, log: TopicPartition) -> None:
        """The log's shard is not here any more; if it comes back, it begins anew."""
        self._rereading.pop(log, None)
        self._real.pop(log, None)

    def before(
        self, log: TopicPartition, position: int, records: Sequence[ConsumerRecord], begin: int
    ) -> bool:
        """Whether records before these are missing that may still be had by reading again.

        begin: from where on they were read. Offsets that were passed over there are of no record
        that counts: a transaction's end takes one, and one that was aborted leaves all of its own.

        What retention has taken is gone for good, so a gap that is still there when it was read
        again is none.
        """
        if not records:
            # What was read before the gap was noticed is out of the way.
            self._rereading.pop(log, None)
            self._real[log] = position
            return True
        if begin <= position or self._real.get(log) == position:
            return False
        if log not in self._rereading:
            place = {"topic": log.topic, "shard": log.partition}
            self._logger.warning("log_gap", **place, position=position, next=begin)
            self._rereading[log] = asyncio.ensure_future(self._reread(log))
        return True
