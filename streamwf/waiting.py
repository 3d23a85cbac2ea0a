"""Those who wait for what becomes of requests and runs, in the process that folds them."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .events import Event
from .record import Record
from .verdict import Verdict

#: What tells the answer to a callback from the verdict on the event that brings it.
_OUTCOME = "outcome of "


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request, the run that it met, and the event that says so."""

    verdict: Verdict
    record: Record | None
    event: Event


class Waiting:
    """Hands out what a shard folds to whoever waits for it."""

    def __init__(self) -> None:
        self._answers: dict[str, list[asyncio.Future[Answer]]] = {}
        self._watchers: dict[str, list[asyncio.Queue[Record | None]]] = {}

    def answer(self, event_id: str) -> asyncio.Future[Answer]:
        """The answer to a request that is about to be appended."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # The same request may be asked again, under its key, while it is under way.
        self._answers.setdefault(event_id, []).append(future)
        future.add_done_callback(lambda done: self._forget(event_id, done))
        return future

    def _forget(self, event_id: str, done: asyncio.Future[Answer]) -> None:
        others = [future for future in self._answers.pop(event_id, ()) if future is not done]
        if others:
            self._answers[event_id] = others

    @contextmanager
    def watch(self, run_id: str) -> Iterator[asyncio.Queue[Record | None]]:
        """The run as each event from now on leaves it; None when the shard is lost."""
        queue: asyncio.Queue[Record | None] = asyncio.Queue()
        self._watchers.setdefault(run_id, []).append(queue)
        try:
            yield queue
        finally:
            watchers = self._watchers[run_id]
            watchers.remove(queue)
            if not watchers:
                del self._watchers[run_id]

    def judged(self, event_id: str, verdict: Verdict, record: Record | None, event: Event) -> None:
        """An event was folded, or refused."""
        # Mostly nobody waits, and an answer would take longer to make than all else here.
        if self._answers:
            answer = Answer(verdict, record, event)
            for future in self._answers.pop(event_id, ()):
                if not future.done():
                    future.set_result(answer)

    def outcome(self, call: str) -> asyncio.Future[Answer]:
        """What becomes of a callback that is about to be appended. call: its event's id."""
        return self.answer(_OUTCOME + call)

    def answered(self, call: str, verdict: Verdict, record: Record | None, event: Event) -> None:
        """A callback was answered, or the run has ended without."""
        self.judged(_OUTCOME + call, verdict, record, event)

    def changed(self, record: Record) -> None:
        """An event has changed a run."""
        if self._watchers:
            for queue in self._watchers.get(record.run_id, ()):
                queue.put_nowait(record)

    def close(self, error: Exception) -> None:
        """Nothing more will be folded here."""
        for future in list(itertools.chain.from_iterable(self._answers.values())):
            if not future.done():
                future.set_exception(error)
        for queue in itertools.chain.from_iterable(self._watchers.values()):
            queue.put_nowait(None)
