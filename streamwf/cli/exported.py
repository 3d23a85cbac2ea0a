"""Runs that were exported to a file: what the commands, the API and the topics tell of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from streamwf import events
from streamwf.cli.documents import documents
from streamwf.cli.output import Report
from streamwf.cli.targets import AnyWorkflow
from streamwf.counting import counted
from streamwf.errors import StreamwfError
from streamwf.events import decode_event, encode_event, source_of
from streamwf.execute import SystemClock
from streamwf.fold import Verdict
from streamwf.histories import ExportedHistory
from streamwf.record import FIRST_KEY, NOTHING, Call, Record, State, Timer, decode_record
from streamwf.shard import Limits, Shard
from streamwf.tables.memory import MemoryTable
from streamwf.views import History, Page, RunView

#: Documents between two reports of progress, and events that are folded at once.
PILE = 500

#: An end of the log that is never reached, so that nothing is ever dispatched.
NEVER = 1 << 62


class Known(NamedTuple):
    """A run. whole: whether the record has all that the run waits for."""

    record: Record
    whole: bool


@dataclass(frozen=True, slots=True)
class Unread:
    """A document that could not be read. line: where it begins; 0 for the file as a whole."""

    line: int
    why: str


class Consumed(BaseModel):
    """A record with its place in the topic, as `kcat -J` writes it."""

    partition: int = 0
    offset: int
    ts: int = 0
    payload: str | None


class _Entry(NamedTuple):
    """Implements `streamwf.ports.LogRecord`."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


@dataclass
class Export:
    """The runs of a file, by workflow.

    limit: bytes of the largest record that the workers read.
    """

    workflows: Sequence[AnyWorkflow]
    limit: int
    unread: list[Unread] = field(default_factory=list)
    _cursor: str | None = None
    _logs: dict[str, "_Log"] = field(default_factory=dict)
    _told: dict[str, dict[str, Known]] = field(default_factory=dict)

    def read(self, file: IO[bytes], report: Report) -> None:
        """Take in a file."""
        number = 0
        for number, (line, document) in enumerate(documents(file), 1):
            try:
                self._take(document)
            except (StreamwfError, msgspec.DecodeError, ValueError) as error:
                self.unread.append(Unread(line, _in_short(error)))
            if number % PILE == 0:
                report(number, None)
        report(number, number)
        self.unread += [Unread(0, why) for why in self._incomplete()]

    def _incomplete(self) -> Iterator[str]:
        if self._cursor:
            yield f"there are more runs: add what `runs list --cursor {self._cursor}` gives"
        for name, log in self._logs.items():
            log.fold()
            if log.orphans:
                what = f"event of {name} is of a run/events of {name} are of runs"
                yield (
                    f"{counted(log.orphans, what)} whose beginning is not in it: "
                    "export the topic from its beginning, with `kcat -J`"
                )

    def runs(self, workflow: AnyWorkflow) -> Iterable[Known]:
        """All runs of a workflow that the file tells of."""
        if workflow.name in self._logs:
            yield from (Known(record, whole=True) for record in self._logs[workflow.name].runs())
        yield from self._told.get(workflow.name, {}).values()

    def _take(self, document: Any) -> None:
        if isinstance(document, ValueError):
            raise document
        if not isinstance(document, dict):
            raise ValueError("it is neither a run, nor runs, nor a history, nor an event")
        for marks, take in _KINDS:
            if marks <= document.keys():
                return take(self, document)
        raise ValueError("it is neither a run, nor runs, nor a history, nor an event")

    def _page(self, document: dict[str, Any]) -> None:
        page = Page.model_validate(document)
        for run in page.runs:
            self._tell(run.workflow, record_of(run), whole=False)
        self._cursor = page.cursor
        if page.missing:
            raise ValueError(f"it is without the runs of {', '.join(page.missing)}")

    def _view(self, document: dict[str, Any]) -> None:
        run = RunView.model_validate(document)
        self._tell(run.workflow, record_of(run), whole=False)

    def _record(self, document: dict[str, Any]) -> None:
        self._tell(self._only("a row"), decode_record(to_json(document)), whole=True)

    def _history(self, document: dict[str, Any]) -> None:
        history = History.model_validate(document)
        self._tell(self._only("a history"), _outcome(history), whole=False)

    def _exported(self, document: dict[str, Any]) -> None:
        for each in ExportedHistory.model_validate(document).events:
            self._fold(each.event, to_json(each.event))

    def _tell(self, workflow: str, record: Record, *, whole: bool) -> None:
        known = self._told.setdefault(workflow, {})
        before = known.get(record.run_id)
        if before is None or before.record.version <= record.version:
            known[record.run_id] = Known(record, whole)

    def _event(self, document: dict[str, Any]) -> None:
        self._fold(document, to_json(document))

    def _consumed(self, document: dict[str, Any]) -> None:
        consumed = Consumed.model_validate(document)
        value = (consumed.payload or "").encode()
        self._fold(msgspec.json.decode(value, type=dict[str, Any]), value, consumed)

    def _fold(self, event: dict[str, Any], value: bytes, consumed: Consumed | None = None) -> None:
        source = event.get("source") or source_of(self._only("an event without a source"))
        for workflow in self.workflows:
            if source == source_of(workflow.name):
                log = self._logs.setdefault(workflow.name, _Log(workflow, self.limit))
                log.take(value, consumed)

    def _only(self, what: str) -> str:
        """The workflow of what does not say of which it is."""
        if len(self.workflows) > 1:
            raise ValueError(f"{what} does not say of which workflow it is: check them one by one")
        return self.workflows[0].name


#: What a document is, by what it says. The first that fits counts.
_KINDS: list[tuple[set[str], Callable[[Export, dict[str, Any]], None]]] = [
    ({"payload", "offset"}, Export._consumed),
    ({"runs"}, Export._page),
    ({"events", "format"}, Export._exported),
    ({"events", "run_id"}, Export._history),
    ({"type", "subject"}, Export._event),
    ({"run_id", "workflow"}, Export._view),
    ({"run_id", "version"}, Export._record),
]


class _Log:
    """Folds the events of one workflow in memory. Nothing is executed."""

    def __init__(self, workflow: AnyWorkflow, limit: int) -> None:
        self._name = workflow.name
        self._limit = limit
        self._table = MemoryTable()
        self._shard = Shard(
            workflow,
            0,
            self._table,
            end=NEVER,
            clock=SystemClock(),
            threads=ThreadPoolExecutor(1),
            wake=lambda: None,
            misplaced=lambda _: False,
            limits=Limits(limit),
        )
        self._pile: list[_Entry] = []
        self._count = 0

    def take(self, value: bytes, consumed: Consumed | None) -> None:
        """The next event. Raises UnreadableRecord and RecordTooLarge."""
        # Made whole by its place in the topic, as far as that is known: the file is another one.
        event = decode_event(
            value,
            workflow=self._name,
            partition=consumed.partition if consumed else 0,
            offset=consumed.offset if consumed else self._count,
            timestamp_ms=consumed.ts if consumed else 0,
            limit=self._limit,
        )
        self._pile.append(_Entry(self._count, event.subject.encode(), encode_event(event)))
        self._count += 1
        if len(self._pile) >= PILE:
            self.fold()

    def fold(self) -> None:
        """Fold what was taken."""
        self._shard.fold(self._pile)
        self._pile.clear()
        # Whatever it leads to elsewhere has been done, or is in the file itself.
        self._shard.take_asides()
        checkpoint = self._shard.checkpoint()
        if checkpoint is not None:
            self._table.write(checkpoint)
            self._shard.committed(checkpoint)

    @property
    def orphans(self) -> int:
        """How many results there were of runs that are not known."""
        judged = self._shard.measures.verdicts
        return sum(judged[kind, Verdict.NO_SUCH_RUN] for kind in events.RESULTS)

    def runs(self) -> Iterable[Record]:
        return (record for _, record in self._shard.scan(FIRST_KEY))


def _in_short(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


# ---- from what is told back to records


def record_of(view: RunView) -> Record:
    """As much of a run's record as is told of it."""
    return Record(
        foreign_id=view.foreign_id,
        run_id=view.run_id,
        status=view.status,
        state=view.state,
        version=view.version,
        object=msgspec.Raw(to_json(view.object)),
        created_at=view.created_at,
        updated_at=view.updated_at,
        due_at=view.due_at,
        timers=tuple(Timer(timer.name, timer.due_at) for timer in view.timers),
        calls=tuple(
            # What came is not told.
            Call(call.id, call.name, call.due_at, call.until, NOTHING)
            for call in view.callbacks
        ),
    )


#: What becomes of a run by an event that does not say so.
_STATES = {
    events.TRIGGER: State.INITIATED,
    events.PAUSE: State.PAUSED,
    events.RESUME: State.RUNNING,
    events.RESUMED: State.RUNNING,
    events.CANCEL: State.CANCELLED,
    events.DELETE: State.DATA_DELETION_REQUESTED,
    events.DELETED: State.DATA_DELETED,
}


def _outcome(history: History) -> Record:
    """As much of a run's record as its history tells. It tells no foreign id."""
    if not history.events:
        raise ValueError("it is a history without events")
    status, state, value = "", State.INITIATED, None
    for event in history.events:
        status = event.status or status
        at_work = State.RUNNING if state is State.INITIATED else state
        state = event.state or _STATES.get(event.type, at_work)
        value = event.object if event.object is not None else value
    last = history.events[-1]
    return Record(
        foreign_id="",
        run_id=history.run_id,
        status=status,
        state=state,
        version=last.version,
        object=msgspec.Raw(to_json(value)),
        created_at=history.events[0].time,
        updated_at=last.time,
    )
