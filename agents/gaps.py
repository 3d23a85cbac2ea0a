"""Gaps in what was read of a log: they are read again.

Nothing should be lost between the broker and the fold. If it is all the same, a fold that went on
would leave a run standing still for ever, or begin what it is not to.
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

    def forget(self, log: TopicPartition) -> None:
        """The log's shard is not here any more; if it comes back, it begins anew."""
        self._rereading.pop(log, None)

    def before(
        self, log: TopicPartition, position: int, records: Sequence[ConsumerRecord], begin: int
    ) -> bool:
        """Whether records before these are missing.

        begin: from where on they were read. Offsets that were passed over there are of no record
        that counts: a transaction's end takes one, one that was aborted leaves all of its own, and
        what retention has taken is gone for good.
        """
        if not records:
            # What was read before the gap was noticed is out of the way.
            self._rereading.pop(log, None)
            return True
        if begin <= position:
            return False
        if log not in self._rereading:
            place = {"topic": log.topic, "shard": log.partition}
            self._logger.warning("log_gap", **place, position=position, next=begin)
            self._rereading[log] = asyncio.ensure_future(self._reread(log))
        return True
