"""Those who ask from outside: producers of their own, who try until they are answered and
sometimes once more, and callers of a worker that has the run's shard, or thinks so."""

import asyncio
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError

from streamwf import events
from streamwf.adapters.kafka.append import producer
from streamwf.agents.host import KafkaHost
from streamwf.callback_views import CallbackRequest
from streamwf.errors import StreamwfError, UnknownCallback
from streamwf.events import Event, encode_event, request
from streamwf.ids import run_id_of
from streamwf.operations import Operations
from streamwf.record import SCHEDULE
from streamwf.requesting import callback_event, callback_request, trigger_event
from streamwf.views import Trigger
from tests.proof.story import Asked
from tests.simulation.flows import NAME
from tests.simulation.loop import Process, SimTask
from tests.simulation.plan import Entry

if TYPE_CHECKING:
    from tests.simulation.world import World

#: What is asked within a call of a worker, as it goes to the log.
ASKING: ContextVar[dict[str, Any] | None] = ContextVar("asking", default=None)

#: Tries of a producer that is not answered.
TRIES = 4

#: Seconds that a caller waits for a worker that has the shard.
LOOKING = 3.0

_TYPES = {
    "pause": events.PAUSE,
    "resume": events.RESUME,
    "cancel": events.CANCEL,
    "retry": events.RETRY,
    "delete": events.DELETE,
}


class Clients:
    """All of them."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._process = Process("clients")
        self._asked: list[dict[str, Any]] = []
        self._tasks: list[tuple[Process, SimTask]] = []

    @property
    def asked(self) -> list[Asked]:
        return [Asked(**noted) for noted in self._asked if noted["id"]]

    @property
    def all_done(self) -> bool:
        return all(task.done() or process.dead for process, task in self._tasks)

    def act(self, entry: Entry) -> None:
        way = self._by_log if entry["via"] == "log" else self._by_worker
        self._spawn(self._process, way(entry))

    def stop_schedules(self) -> None:
        """They would go on for ever."""
        for name in self._world.made.workflow.schedules:
            self._spawn(self._process, self._stop_schedule(name))

    async def _stop_schedule(self, name: str) -> None:
        world = self._world
        event = request(
            NAME, events.PAUSE, name, world.now(), event_id=f"stop-{name}", inner=SCHEDULE
        )
        sender = producer(world.settings("clients"))
        await sender.start()
        await sender.send_and_wait(
            world.topics.events,
            encode_event(event),
            name.encode(),
            world.partition_of(name),
        )

    def _spawn(self, process: Process, coro: Any) -> None:
        self._tasks.append((process, self._world.loop.spawn(process, coro)))

    def _note(self, entry: Entry) -> dict[str, Any]:
        noted = {
            "type": _TYPES.get(entry.what, entry.what),
            "id": "",
            "foreign_id": entry["foreign_id"],
            "at": self._world.true_now(),
        }
        self._asked.append(noted)
        return noted

    # ---- by the log

    async def _by_log(self, entry: Entry) -> None:
        try:
            event = self._event(entry)
        except UnknownCallback:
            return
        noted = self._note(entry)
        noted["id"], noted["run_id"] = event.id, event.runid
        sender = producer(self._world.settings("clients"))
        try:
            await sender.start()
        except KafkaError:
            return
        value, partition = encode_event(event), self._world.partition_of(event.subject)
        if entry["astray"]:
            partition = (partition + 1) % self._world.plan.setup.partitions
        left = 1 + entry["again"]
        for _ in range(TRIES + left):
            try:
                await sender.send_and_wait(
                    self._world.topics.events, value, event.subject.encode(), partition
                )
            except KafkaError:
                continue
            noted["accepted"] = True
            left -= 1
            if not left:
                return
            await asyncio.sleep(0.3)

    def _event(self, entry: Entry) -> Event:
        """Raises UnknownCallback."""
        world, event_id = self._world, f"act-{entry['n']}"
        if entry.what == "trigger":
            trigger = self._trigger(entry)
            run_id = run_id_of(NAME, trigger) if trigger.key else f"by-act-{entry['n']}"
            return trigger_event(
                world.made.workflow,
                trigger,
                world.now(),
                event_id=event_id,
                run_id=run_id,
                limit=world.defaults["max_record_bytes"],
            )
        if entry.what == "callback":
            return callback_event(
                world.made.workflow,
                self._callback(entry),
                world.now(),
                event_id=event_id,
                limit=world.defaults["max_record_bytes"],
            )
        kind, subject = _TYPES[entry.what], entry["foreign_id"]
        return request(NAME, kind, subject, world.now(), event_id=event_id, reason=event_id)

    def _trigger(self, entry: Entry) -> Trigger:
        key = entry["key"]
        told = entry["n"] if key is None else f"{entry['foreign_id']}-{key}"
        start_at = None
        if entry["start_in"] and key is None:
            start_at = self._world.now() + timedelta(seconds=entry["start_in"])
        return Trigger(
            foreign_id=entry["foreign_id"],
            object={"n": 0, "secret": f"secret-{told}"},
            start_at=start_at,
            key=None if key is None else str(key),
        )

    def _callback(self, entry: Entry) -> CallbackRequest:
        key, wait = entry["key"], timedelta(seconds=entry["wait"])
        payload = f"answer-{entry['n'] if key is None else key}"
        told = None if key is None else str(key)
        return callback_request(entry["name"], payload, entry["foreign_id"], None, None, told, wait)

    # ---- by a worker

    async def _by_worker(self, entry: Entry) -> None:
        noted = self._note(entry)
        deadline = self._world.loop.now + LOOKING
        while self._world.loop.now < deadline:
            for worker in self._world.workers:
                host, process = worker.up, worker.process
                if host is not None and host.shard_of(NAME, entry["foreign_id"]) is not None:
                    assert process is not None
                    self._spawn(process, self._call(host, entry, noted))
                    return
            await asyncio.sleep(0.1)

    async def _call(self, host: KafkaHost, entry: Entry, noted: dict[str, Any]) -> None:
        ASKING.set(noted)
        try:
            await self._operate(Operations(host, patience=3.0), host, entry)
        except StreamwfError as error:
            noted["answer"] = type(error).__name__

    async def _operate(self, operations: Operations, host: KafkaHost, entry: Entry) -> None:
        """Raises what the operations do."""
        if entry.what == "trigger":
            await operations.trigger(NAME, self._trigger(entry))
        elif entry.what == "callback":
            await operations.callback(NAME, self._callback(entry))
        else:
            view = await operations.latest(NAME, entry["foreign_id"])
            action = "delete-data" if entry.what == "delete" else entry.what
            await operations.steer(action, view.run_id, f"act-{entry['n']}")


def noting(host: KafkaHost) -> None:
    """Let what is asked of a host be noted as it goes to the log."""
    append = host.append

    async def noted(workflow: str, event: Event) -> None:
        asking = ASKING.get()
        if asking is not None:
            asking["id"], asking["run_id"] = event.id, event.runid
        await append(workflow, event)
        if asking is not None:
            asking["accepted"] = True

    host.append = noted  # type: ignore[method-assign]
