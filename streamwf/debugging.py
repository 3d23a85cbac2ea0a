"""Telling what happens to the runs of a workflow that is debugged, and what they carry only if that
is asked for."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from pydantic_core import from_json

from .agenda import Kind
from .definition import Workflow
from .events import Event
from .logs import Fields, Naming
from .ports import Logger
from .record import MAIL, Record
from .verdict import Verdict

RunJob: TypeAlias = Callable[[Record, Kind, str], Awaitable[Event]]


class Debugging:
    """Tells what happens in one shard of a workflow. objects: also what its runs carry."""

    def __init__(
        self, logger: Logger, workflow: Workflow[Any, Any], naming: Naming, objects: bool
    ) -> None:
        self._tell = logger.info
        self._workflow = workflow
        self._naming = naming
        # What is sealed would say nothing.
        self._objects = objects and not workflow.encrypt

    def judged(self, event: Event, verdict: Verdict, record: Record | None) -> None:
        """An event has changed a run, or was refused. record: the run as it is now."""
        what = "run_changed" if verdict is Verdict.ACCEPTED else "event_refused"
        if record is None:
            told = self._of_event(event)
        else:
            told = self._naming.run(record, traceparent=event.traceparent)
            if self._objects and not record.kind:
                told["object"] = self._carried(record)
        self._tell(what, **told, type=event.type, verdict=str(verdict))

    def set_aside(self, offset: int) -> None:
        """A record of the log is no event, or one that nobody can use."""
        self._tell("record_set_aside", **self._naming.shard, offset=offset)

    def watching(self, run_job: RunJob) -> RunJob:
        """Does jobs as `run_job` does."""

        async def watched(record: Record, kind: Kind, name: str) -> Event:
            told = {**self._naming.run(record, kind), "job": str(kind), "job_name": name}
            self._tell("job_begun", **told)
            event = await run_job(record, kind, name)
            ended = {"type": event.type, "attempt": event.attempt}
            if event.errortype:
                ended["error"] = event.errortype
            self._tell("job_ended", **told | self._naming.trace(event.traceparent), **ended)
            return event

        return watched

    def _of_event(self, event: Event) -> Fields:
        """An event that has met no run."""
        told = {
            **self._naming.shard,
            "run_id": event.runid,
            "status": event.status,
            "role": self._naming.role(event.kind or event.status),
            **self._naming.trace(event.traceparent),
        }
        return told if event.kind in MAIL else {**told, "foreign_id": event.subject}

    def _carried(self, record: Record) -> Any:
        objects, data = self._workflow.objects, bytes(record.object)
        if objects.masks:
            return objects.masked(data)
        try:
            return from_json(data)
        except ValueError:
            return data.decode("utf-8", "replace")


def debugging(
    logger: Logger | None, workflow: Workflow[Any, Any], naming: Naming, objects: bool
) -> Debugging | None:
    """None if the workflow is not debugged, or nobody listens."""
    if logger is None or not workflow.debug:
        return None
    return Debugging(logger, workflow, naming, objects)
