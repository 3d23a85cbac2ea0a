"""Reading one partition of a connector's source.

What messages lead to is appended as soon as it is known, and what can't be used is set aside; then
the position moves, at most twice a second while there is more. What is read twice after a crash
leads to the same ids. A run remembers few of those of its callbacks, so that after these the
position moves at once.
"""

import asyncio
import random
import time
from datetime import timedelta
from typing import Any

import msgspec

from .calling import call, of_the_loop
from .connections import encode, place_of
from .connector import Connector
from .definition import Workflow
from .errors import Fatal, InvalidPosition, RecordTooLarge, RequestRefused, SourceChanged
from .events import CALLBACK, Event
from .inner_work import InnerWork
from .leading import Leading
from .looking import Host
from .ports import CUT, Letter
from .pump import Pump, size_of
from .sources import MAX_POSITION, Message, Source
from .vault import room

#: Seconds for which a source may say nothing when it is asked something.
PATIENCE = 30.0

#: Seconds until a source that has ended is read again.
AGAIN = 1.0

#: Messages that are used before others on the loop have their turn.
BATCH = 200

#: Seconds, or messages, after which the position is made durable while there is more.
INTERVAL = 0.5
UNCOMMITTED = 2_000

#: Seconds after which a source that had failed is well again if nothing comes.
WELL = 10.0

#: Seconds from which on a message that is to be tried again waits where people see it.
LONG = timedelta(seconds=1)

#: What no further try can mend.
HOPELESS = (Fatal, RequestRefused, RecordTooLarge)

_replace = msgspec.structs.replace


class Later(Exception):
    """A message has failed, and is tried again after so long. data: the object meanwhile.

    of: what the message says.
    """

    def __init__(self, error: BaseException, after: timedelta, data: bytes, of: bytes) -> None:
        super().__init__(error, after)
        self.error = error
        self.after = after
        self.data = data
        self.of = of


def check_source(connector: Connector[Any, Any], former: str) -> None:
    """Raises SourceChanged."""
    if connector.source.name != former:
        raise SourceChanged(name=connector.name, former=former, source=connector.source.name)


class PartitionReader:
    """Reads a partition by the step of its inner run."""

    def __init__(
        self,
        host: Host,
        workflow: Workflow[Any, Any],
        connector: Connector[Any, Any],
        source: Source,
        work: InnerWork,
    ) -> None:
        self._host = host
        self._workflow = workflow.name
        self._connector = connector
        self._source = source
        self._work = work
        self._limit = host.max_record_bytes
        most = room(self._limit) if workflow.encrypt else self._limit
        self._leading = Leading(workflow, connector.name, most)
        self._place = self._durable = place_of(work.record)
        self._durable_at = self._opened_at = time.monotonic() - INTERVAL
        self._events: list[Event] = []
        self._letters: list[Letter] = []
        self._retry = connector.retry
        # The position of the last message that was read ahead.
        self._seen = self._place.position
        # Whether the position is to be durable before anything else is appended.
        self._hasty = False

    async def read(self) -> None:
        """Read until something stops it."""
        check_source(self._connector, self._place.source)
        if not self._place.begun:
            asked = asyncio.wait_for(self._source.begin(self._place.partition), PATIENCE)
            position = await self._work.until(asked)
            self._place = self._durable = _replace(self._place, position=position, begun=True)
            if position is not None:
                # Where the latest message is now, it is not later.
                await self._commit()
        while True:
            self._opened_at = time.monotonic()
            messages = self._source.open(self._place.partition, self._place.position)
            self._seen = self._place.position
            async with Pump(messages, self._check_position) as pump:
                await self._use_all(pump)
            await self._work.rest(AGAIN)

    async def _use_all(self, pump: Pump) -> None:
        """Use what comes, until the source ends. Raises what it has failed with."""
        while True:
            messages = pump.take(BATCH)
            ended = pump.ended and not messages
            for message in messages:
                self._work.check()
                await self._use(message)
            await self._flush()
            if self._wait() == 0 or (ended and self._untold(pump)):
                await self._commit()
            if ended:
                if pump.error is not None:
                    raise pump.error
                return
            if messages:
                # Others have their turn, however fast the source is.
                await asyncio.sleep(0)
            else:
                await self._work.until(pump.moved(), self._wait())

    # ---- one message

    async def _use(self, message: Message) -> None:
        """Note what a message leads to, or set it aside. Raises Later."""
        while (error := await self._tried(message)) is not None:
            if isinstance(error, HOPELESS) or self._retry.exhausted(self._place.tried + 1):
                self._set_aside(message, error)
                return
            await self._try_later(error, message)
        self._passed(message)

    def _check_position(self, message: Message) -> None:
        """Raises InvalidPosition."""
        position, former = message.position, self._seen
        if not isinstance(position, str) or not 1 <= len(position) <= MAX_POSITION:
            why = "that is no such text"
        elif position == former:
            why = "that is the same"
        else:
            self._seen = position
            return
        raise InvalidPosition(source=self._source.name, position=position, former=former, why=why)

    async def _tried(self, message: Message) -> BaseException | None:
        """What went wrong, if something did."""
        try:
            size = size_of(message)
            if size > self._limit:
                raise RecordTooLarge(what="message", size=size, limit=self._limit)
            name = self._connector.name
            with self._host.tracing.message(self._workflow, name, message.headers) as traceparent:
                led = await call(self._connector, None, message)
                now = self._host.clock.now()
                self._events += self._leading.events(message, led, now, traceparent)
        except BaseException as error:
            if of_the_loop(error):
                raise
            return error
        return None

    async def _try_later(self, error: BaseException, message: Message) -> None:
        """Let go ahead what came before, and wait as long as the retry policy says."""
        await self._flush()
        self._place = _replace(self._place, tried=self._place.tried + 1)
        after = self._retry.delay(self._place.tried, random.random())
        if after >= LONG:
            raise Later(error, after, encode(self._place), message.value or b"")
        await self._work.pause(after.total_seconds())

    def _set_aside(self, message: Message, error: BaseException) -> None:
        why = self._work.told(error, message.value or b"")
        letter = Letter(
            key=message.key,
            value=message.value,
            reason=f"{why['errortype']}: {why['errormessage']}",
            source=self._source.name,
            partition=self._place.partition,
            position=message.position,
            headers=message.headers,
        )
        self._letters.append(self._fitting(letter))
        self._place = _replace(self._place, set_aside=self._place.set_aside + 1)
        self._passed(message)

    def _fitting(self, letter: Letter) -> Letter:
        """What is too large is cut off. The source still has all of it."""
        if size_of(letter) <= self._limit:
            return letter
        key, value, most = letter.key, letter.value, self._limit // 2
        return letter._replace(
            key=key and key[:most], value=value and value[:most], headers=((CUT, b"1"),)
        )

    def _passed(self, message: Message) -> None:
        place = self._place
        self._place = _replace(
            place, position=message.position, messages=place.messages + 1, tried=0
        )

    # ---- what is durable

    async def _flush(self) -> None:
        """Return once what the messages have led to is durable."""
        events, self._events = self._events, []
        letters, self._letters = self._letters, []
        if events:
            await self._host.append_all(self._workflow, events)
            self._hasty = self._hasty or any(event.type == CALLBACK for event in events)
        if letters:
            await self._host.bury(self._workflow, letters)

    async def _commit(self) -> None:
        """Return once the position is durable."""
        await self._work.repeat(encode(self._place))
        self._durable, self._durable_at, self._hasty = self._place, time.monotonic(), False

    def _wait(self) -> float | None:
        """Seconds until the position is to be made durable; None if it is."""
        now = time.monotonic()
        if self._place != self._durable:
            many = self._place.messages - self._durable.messages >= UNCOMMITTED
            return 0 if many or self._hasty else max(self._durable_at + INTERVAL - now, 0)
        if self._work.record.attempt:
            return max(self._opened_at + WELL - now, 0)
        return None

    def _untold(self, pump: Pump) -> bool:
        """Whether there is something to make durable when a source has ended."""
        well = pump.error is None and self._work.record.attempt > 0
        return well or self._place != self._durable
