"""Telling what happens to the runs of a workflow that is debugged, and never what they carry."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from .agenda import Kind
from .definition import Workflow
from .events import Event
from .record import MAIL, Record
from .verdict import Verdict

#: Called with the name of what happened, and with what is known of it.
Tell: TypeAlias = Callable[..., None]

RunJob: TypeAlias = Callable[[Record, Kind, str], Awaitable[Event]]


class Debugging:
    """Tells what happens in one shard of a workflow."""

    def __init__(self, tell: Tell, workflow: Workflow[Any, Any], shard: int) -> None:
        self._tell = tell
        self._workflow = workflow
        self._where = {"workflow": workflow.name, "shard": shard}

    def judged(self, event: Event, verdict: Verdict, record: Record | None) -> None:
        """An event has changed a run, or was refused. record: the run as it is now."""
        what = "run_changed" if verdict is Verdict.ACCEPTED else "event_refused"
        if record is None:
            told = {"foreign_id": event.subject, "run_id": event.runid, "status": event.status}
            if event.kind in MAIL:
                del told["foreign_id"]
            self._tell(what, **self._where, **told, type=event.type, verdict=str(verdict))
        else:
            self._tell(what, **self._of(record), type=event.type, verdict=str(verdict))

    def set_aside(self, offset: int) -> None:
        """A record of the log is no event, or one that nobody can use."""
        self._tell("record_set_aside", **self._where, offset=offset)

    def watching(self, run_job: RunJob) -> RunJob:
        """Does jobs as `run_job` does."""

        async def watched(record: Record, kind: Kind, name: str) -> Event:
            told = {**self._of(record), "job": str(kind), "job_name": name}
            self._tell("job_begun", **told)
            event = await run_job(record, kind, name)
            self._tell("job_ended", **told, type=event.type, attempt=event.attempt)
            return event

        return watched

    def _of(self, record: Record) -> dict[str, Any]:
        told = {
            **self._where,
            "foreign_id": record.foreign_id,
            "run_id": record.run_id,
            "status": record.status if record.kind else self._workflow.current(record.status),
            "state": str(record.state),
            "version": record.version,
        }
        if record.kind:
            told["kind"] = record.kind
        if record.kind in MAIL:
            # It may hold a value of an object.
            del told["foreign_id"]
        return told


def debugging(tell: Tell | None, workflow: Workflow[Any, Any], shard: int) -> Debugging | None:
    """None if the workflow is not debugged, or nobody listens."""
    return Debugging(tell, workflow, shard) if tell is not None and workflow.debug else None
