"""What log lines say of the run that they are about, and which run is worked at here."""

import logging
from contextvars import ContextVar
from typing import Any, TypeAlias

from .agenda import Kind
from .definition import Workflow
from .events import Event, trace_id_of
from .naming import PROCESSES, Process, role_name
from .ports import Letter, Logger
from .record import MAIL, Record
from .redaction import MASK

Fields: TypeAlias = dict[str, Any]


def steered(logger: Logger, workflow: Workflow[Any, Any], event: Event, outcome: str) -> None:
    """Log who has asked for what, unless it is the program itself, and what came of it."""
    if not event.by:
        return
    told = {
        "by": event.by,
        "action": event.type,
        "workflow": workflow.name,
        "foreign_id": event.subject,
        "run_id": event.runid,
        # What people write may be what nobody is to read.
        "reason": MASK if workflow.masks and event.reason else event.reason,
        "outcome": outcome,
    }
    if event.kind in MAIL:
        # It may hold a value of an object.
        del told["foreign_id"]
    trace_id = trace_id_of(event.traceparent)
    logger.info("steered", **told | ({"trace_id": trace_id} if trace_id else {}))


class Naming:
    """Names the runs of one shard in lines. shards: how many the workflow has.

    logger: takes the lines of the shard's host.
    """

    def __init__(
        self,
        workflow: Workflow[Any, Any],
        shard: int,
        shards: int,
        logger: Logger | None = None,
    ) -> None:
        self.logger = logger
        self._workflow = workflow
        self._shard = shard
        self._shards = shards
        self.shard = {"workflow": workflow.name, "shard": shard}

    def run(self, record: Record, at_work: Kind = Kind.STEP, traceparent: str = "") -> Fields:
        """The fields of a line about a run. at_work: what is done for it.

        traceparent: of the event that the line is about.
        """
        status = record.status if record.kind else self._workflow.current(record.status)
        told = {
            **self.shard,
            "foreign_id": record.foreign_id,
            "run_id": record.run_id,
            "status": status,
            "state": str(record.state),
            "version": record.version,
            "role": self.role(record.kind or status, at_work),
        }
        if record.kind:
            told["kind"] = record.kind
        if record.kind in MAIL:
            # It may hold a value of an object.
            del told["foreign_id"]
        return told | self.trace(traceparent)

    def trace(self, traceparent: str) -> Fields:
        trace_id = trace_id_of(traceparent)
        return {"trace_id": trace_id} if trace_id else {}

    def role(self, status: str, at_work: Kind = Kind.STEP) -> str:
        """What does such work here. status: or the kind of an inner run."""
        member = self._workflow.status_type.__members__.get(status, status)
        process = PROCESSES.get(at_work, Process.CONSUMER)
        return role_name(self._workflow.name, member, process, self._shard + 1, self._shards)


#: What is worked at here. Set for each job, and only made into fields once a line is logged.
AtWork: TypeAlias = tuple[Naming, Record, Kind]
at_work: ContextVar[AtWork | None] = ContextVar("streamwf_at_work", default=None)


def fields_here() -> Fields:
    """The fields of a line that is logged in a step, timeout, callback or hook; none elsewhere."""
    job = at_work.get()
    if job is None:
        return {}
    naming, record, kind = job
    return naming.run(record, kind, record.trace.parent if record.trace else "")


def logger_here() -> Logger | None:
    """What takes the lines of the host that does a job here; None elsewhere."""
    job = at_work.get()
    return None if job is None else job[0].logger


def short(reason: str) -> str:
    """Why something went to the dead letters, which have all of it: what comes after the first
    colon may hold all that an object does."""
    return reason.partition(":")[0]


def letter_fields(workflow: str, letter: Letter) -> Fields:
    """A message that can't be used."""
    return {
        "workflow": workflow,
        "topic": letter.source,
        "partition": letter.partition,
        "offset": letter.position,
        "reason": short(letter.reason),
    }


class StandardLogger:
    """Logs by the standard library: the fields of a line are attributes of its record.

    Implements `streamwf.ports.Logger`.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, /, **fields: Any) -> None:
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        self._log(logging.ERROR, event, fields)

    def _log(self, level: int, event: str, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            error = fields.pop("exc_info", None)
            self._logger.log(level, event, exc_info=error, extra=fields)
