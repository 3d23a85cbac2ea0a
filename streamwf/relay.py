"""The relay: brings to the log what was committed to the outbox.

Rows are appended in the order of their ids, and deleted by their ids once the log has them. So
whoever appends a row has appended all that came before it, or has seen them gone, which is to say
appended: whatever crashes, and however many relays run, each row is first in the log where it
belongs. What is appended again has the ids that it was written with, and counts once.

A row with a smaller id may become visible later, if its transaction took longer. It is the first
that is taken then.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import structlog

from .definition import Workflow
from .errors import LogSilent, RecordTooLarge, RequestRefused, StreamwfError, UnreadableRecord
from .events import Event, decode_event
from .ports import Backlog, OutboxRow, OutboxStore

logger = structlog.get_logger("streamwf.relay")

#: Rows that are appended at a time. After a crash as many may be appended again, of which a run
#: has to know the ids still: that of its last `record.MAX_REQUESTS` requests.
BATCH = 100

#: Seconds of work after which others have their turn.
TURN = 5.0

#: Seconds until something that failed is tried again, at first and at most.
PAUSE, LONGEST_PAUSE = 0.2, 5.0

#: Seconds after which it is said that the log does not answer.
SILENCE = 5.0

#: Seconds between two looks at what is left; and how much of the time that may take.
LOOK, SHARE = 5.0, 0.05

#: Seconds after which a row that waits is late, and between two times that this is said.
LATE, SAY_AGAIN = 30.0, 60.0

#: What is wrong with a row, whatever the state of the log.
HOPELESS = (RecordTooLarge, RequestRefused, UnreadableRecord)


class Log(Protocol):
    """Where requests go: a host, or the topics of Kafka without one."""

    @property
    def workflows(self) -> Mapping[str, Workflow[Any, Any]]: ...
    @property
    def max_record_bytes(self) -> int: ...

    async def append_all(self, workflow: str, events: Sequence[Event]) -> None:
        """Return once the events are in the log; those of one run in their order."""


class Relay:
    """Relays the rows of a log's workflows, until it is cancelled. Other rows are left.

    relayed: rows that the log has taken, by workflow. backlog: what was left at the last look.
    trouble: what keeps it from its work; empty if nothing does.
    """

    def __init__(self, store: OutboxStore, log: Log) -> None:
        self._store = store
        self._log = log
        self.relayed: Counter[str] = Counter(dict.fromkeys(log.workflows, 0))
        self.backlog: Mapping[str, Backlog] = {}
        self.trouble = ""
        # What the log has taken, until it is deleted: a database that can't be written to just now
        # is no reason to append it again.
        self._taken: dict[str, list[int]] = {}
        self._unknown: set[str] = set()
        self._late_since = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._relay())
            tasks.create_task(self._watch())

    async def _relay(self) -> None:
        pause = PAUSE
        while True:
            try:
                more = await self._turn()
                self._well()
                pause = PAUSE
                if not more:
                    await self._store.grown()
            except Exception as error:
                # Whatever it is: a relay that ended would leave what was committed lying.
                self._say(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _turn(self) -> bool:
        """Relay what there is, for a while; whether there may be more."""
        async with self._store.turn() as ours:
            if not ours:
                return False
            deadline = time.monotonic() + TURN
            drained = await asyncio.gather(
                *(self._drain(name, deadline) for name in self._log.workflows),
                return_exceptions=True,
            )
        # One that failed does not keep the others from being relayed.
        failed = [each for each in drained if isinstance(each, BaseException)]
        if failed:
            raise failed[0]
        return not all(drained)

    async def _drain(self, workflow: str, deadline: float) -> bool:
        """Whether no rows of the workflow were left."""
        await self._delete(workflow)
        while rows := await self._store.take(workflow, BATCH):
            await self._append(workflow, rows)
            if time.monotonic() > deadline:
                return False
        return True

    async def _append(self, workflow: str, rows: Sequence[OutboxRow]) -> None:
        """Append rows, and delete them once the log has them; refuse those that it never takes."""
        silent = asyncio.get_running_loop().call_later(SILENCE, self._say_silent)
        try:
            events = [self._event(workflow, row) for row in rows]
            await self._log.append_all(workflow, events)
        except HOPELESS as error:
            if len(rows) == 1:
                await self._refuse(workflow, rows[0], error)
                return
            for row in rows:
                await self._append(workflow, [row])
            return
        finally:
            silent.cancel()
        self._taken[workflow] = [row.id for row in rows]
        self.relayed[workflow] += len(rows)
        await self._delete(workflow)

    async def _delete(self, workflow: str) -> None:
        """Delete what the log has taken."""
        if workflow in self._taken:
            await self._store.delete(self._taken[workflow])
            del self._taken[workflow]

    def _event(self, workflow: str, row: OutboxRow) -> Event:
        """Raises UnreadableRecord and RecordTooLarge."""
        # No partition of a log has this number: what the short form leaves out comes from the row.
        return decode_event(
            row.event,
            workflow=workflow,
            partition=-1,
            offset=row.id,
            timestamp_ms=row.timestamp,
            limit=self._log.max_record_bytes,
        )

    async def _refuse(self, workflow: str, row: OutboxRow, error: Exception) -> None:
        logger.error("outbox_row_refused", workflow=workflow, row=row.id, reason=str(error))
        await self._store.refuse(row.id, str(error))

    # ---- saying what is wrong, once

    def _say(self, error: BaseException) -> None:
        if not self.trouble:
            known = isinstance(error, StreamwfError)
            logger.warning(
                "outbox_held_up",
                error=str(error) if known else repr(error),
                exc_info=None if known else error,
            )
        self.trouble = str(error) or type(error).__name__

    def _say_silent(self) -> None:
        self._say(LogSilent(seconds=SILENCE))

    def _well(self) -> None:
        if self.trouble:
            logger.info("outbox_goes_on")
            self.trouble = ""

    # ---- what is left

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            try:
                self.backlog = await self._store.backlog()
                self._tell_of(self.backlog)
            except Exception as error:
                # The other task says it, if it can't work either.
                logger.debug("outbox_not_seen", error=repr(error))
            await asyncio.sleep(max(LOOK, (time.monotonic() - began) / SHARE))

    def _tell_of(self, backlog: Mapping[str, Backlog]) -> None:
        for name in backlog.keys() - self._log.workflows.keys() - self._unknown:
            self._unknown.add(name)
            rows = backlog[name].waiting
            logger.error("outbox_workflow_unknown", workflow=name, rows=rows)
        late = {name: left for name, left in backlog.items() if age(left) > LATE}
        if not late:
            if self._late_since:
                logger.info("outbox_caught_up")
            self._late_since = 0.0
        elif not self._late_since or time.monotonic() - self._late_since > SAY_AGAIN:
            self._late_since = time.monotonic()
            for name, left in late.items():
                logger.warning(
                    "outbox_lags", workflow=name, rows=left.waiting, seconds=round(age(left))
                )


def age(left: Backlog) -> float:
    """For how many seconds the oldest row waits."""
    return 0.0 if left.oldest is None else max(time.time() - left.oldest.timestamp(), 0.0)
