"""Outages of the brokers: told once when they begin, and once when they are over.

A worker has a dozen clients, and each of aiokafka's writes every try to the log, ten times a
second. That is left out, unless everything is logged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import structlog
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
    RequestTimedOutError,
    SaslAuthenticationFailed,
)

from streamwf.errors import BrokerUnreachable
from streamwf.ports import Logger

logger = structlog.get_logger("streamwf.worker")

#: Seconds that it lasts before it is one: a connection that is made anew at once is none.
BLIP = 1.0

#: Seconds without a failure after which it may be over.
QUIET = 2.0

#: Seconds between two looks at that.
LOOK = 0.5

#: What a client fails with if a broker is not there, not yet, or does not let it in any more.
GONE = (
    *(OSError, KafkaConnectionError, NodeNotReadyError, KafkaTimeoutError),
    *(RequestTimedOutError, SaslAuthenticationFailed),
    *(GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError, GroupLoadInProgressError),
)

#: What aiokafka writes beside that, without the error, or of what it tries again by itself; and
#: what an outage leads to.
BESIDE = (
    *("Unable to update metadata", "Marking the coordinator dead", "Heartbeat failed for group"),
    "Got error produce response on topic-partition %s, retrying",
)
AFTER = ("Heartbeat session expired",)


class Outages(logging.Filter):
    """What aiokafka logs in this process goes by here while a worker follows it."""

    def __init__(self) -> None:
        super().__init__()
        self._brokers = ""
        self._began: float | None = None
        self._told = False
        self._failed_at = 0.0

    @asynccontextmanager
    async def followed(self, brokers: str, heard_at: Callable[[], float]) -> AsyncIterator[None]:
        """Tell of outages of these brokers as long as the context lasts.

        heard_at: when they last answered, by the monotonic clock.
        """
        self._brokers = brokers
        loggers = list(_loggers())
        for each in loggers:
            each.addFilter(self)
        looking = asyncio.create_task(self._look(heard_at))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            for each in loggers:
                each.removeFilter(self)
            self._over()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line is written. Called in whatever thread it comes from."""
        if record.levelno < logging.WARNING:
            return True
        gone = _gone(record)
        if gone is not None:
            self._failed(gone)
        explained = BESIDE if self._began is None else BESIDE + AFTER
        known = gone is not None or str(record.msg).startswith(explained)
        return not known or logging.getLogger(record.name).isEnabledFor(logging.DEBUG)

    def _failed(self, error: BaseException) -> None:
        self._failed_at = monotonic()
        if self._began is None:
            self._began = self._failed_at
        if not self._told and self._failed_at - self._began >= BLIP:
            self._told = True
            logger.warning("brokers_unreachable", brokers=self._brokers, error=str(error))

    def warn(self, event: str, error: BaseException, to: Logger, /, **fields: Any) -> None:
        """Log a warning, unless an outage explains it; where it came from, if Kafka is not to
        blame."""
        if not self.explains(error):
            known = isinstance(error, KafkaError | BrokerUnreachable)
            told = {} if known else {"exc_info": error}
            to.warning(event, error=repr(error), **fields, **told)

    def explains(self, error: BaseException) -> bool:
        """Whether an error is a part of an outage, of which is told apart from it."""
        return self._began is not None and isinstance(error, KafkaError | BrokerUnreachable)

    async def _look(self, heard_at: Callable[[], float]) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if self._began is None or monotonic() - self._failed_at < QUIET:
                continue
            if not self._told:
                self._over()
            elif heard_at() > self._failed_at:
                lasted = round(self._failed_at - self._began, 1)
                self._over()
                logger.info("brokers_reachable_again", brokers=self._brokers, seconds=lasted)

    def _over(self) -> None:
        self._began, self._told = None, False


def _loggers() -> Iterator[logging.Logger]:
    # A filter counts for the one logger that it is at, and not for those below it.
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "aiokafka":
            yield logging.getLogger(name)


def _gone(record: logging.LogRecord) -> BaseException | None:
    """The error that a line is about, if it says that a broker is not there."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return next((each for each in arguments if isinstance(each, GONE)), None)


#: There is one log of a process, and so one of these.
outages = Outages()
