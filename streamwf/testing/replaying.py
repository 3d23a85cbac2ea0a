"""Replay: whether a definition can go on as a run did that another one has led to its end, or to
where it is. Nothing is executed.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from streamwf.compatibility import Problem, problems
from streamwf.definition import Workflow
from streamwf.errors import (
    HistoryNewer,
    HistoryOfAnother,
    HistoryUnreadable,
    ReplayFailed,
    StreamwfError,
)
from streamwf.events import MOVED, Event, decode_event
from streamwf.fold import Verdict, fold
from streamwf.histories import FORMAT, ExportedEvent, ExportedHistory
from streamwf.record import Record, State

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: A history, or the file that has it.
AnyHistory = ExportedHistory | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class ReplayProblem:
    """What a definition can't do with a history, or would lose of it.

    versions: those of the run at which it is so. status: as it is stored, under its former name.
    blocks: whether a run that is there can't go on, or did what is not possible any more.
    """

    versions: tuple[int, ...]
    status: str
    blocks: bool
    problem: str
    cure: str

    def __str__(self) -> str:
        kind = "error" if self.blocks else "warning"
        return f"{kind}, {_told(self.versions)} at {self.status}: {self.problem}\n  {self.cure}"


@dataclass(frozen=True, slots=True)
class Replayed(Generic[ObjectT, StatusT]):
    """A run that a definition can go on with, from wherever it was.

    object: None if it is masked, sealed or deleted. warnings: what would be lost of it.
    """

    run_id: str
    foreign_id: str
    version: int
    status: StatusT
    state: State
    object: ObjectT | None
    warnings: tuple[ReplayProblem, ...] = ()


def replay(
    workflow: Workflow[ObjectT, StatusT], history: AnyHistory, *, moves: bool = True
) -> Replayed[ObjectT, StatusT]:
    """Fold a history that was exported, and hold each version of its run against a definition.

    A run in progress may be at any of these versions when the definition is deployed. So at each
    of them its status has to be there, with something that goes on from it; its object has to fit;
    and what waits for it has to be answered. What was moved has to be allowed.

    history: as `streamwf runs history --export` and `Client.export` give it, or the file.
    moves: whether the moves that were made have to be allowed still; else new runs may go another
        way than this one did.

    Raises ReplayFailed, an AssertionError, with all that is wrong, in `problems`; and
    InvalidDefinition, HistoryUnreadable, HistoryNewer and HistoryOfAnother.
    """
    __tracebackhide__ = True
    workflow.validate()
    told = read_history(history)
    if told.workflow != workflow.name:
        raise HistoryOfAnother(run_id=told.run_id, found=told.workflow, workflow=workflow.name)
    held = _Held(workflow, moves)
    record = held.against(told)
    found = held.sorted()
    if record is None or any(problem.blocks for problem in found):
        raise ReplayFailed(
            definition=workflow.definition,
            workflow=workflow.name,
            run_id=told.run_id,
            foreign_id=told.foreign_id,
            told="\n".join(map(str, found)),
            problems=found,
        )
    return Replayed(
        run_id=told.run_id,
        foreign_id=told.foreign_id,
        version=record.version,
        status=workflow.member(record.status),
        state=record.state,
        object=_object(workflow, record),
        warnings=tuple(found),
    )


def read_history(history: AnyHistory) -> ExportedHistory:
    """Raises HistoryUnreadable and HistoryNewer."""
    if isinstance(history, ExportedHistory):
        _check_form(history.format, history.run_id)
        return history
    path = Path(history)
    try:
        told = from_json(path.read_bytes())
        # One of a newer form may lack what is looked for here.
        if isinstance(told, dict) and isinstance(found := told.get("format"), int):
            _check_form(found, path)
        return ExportedHistory.model_validate(told)
    except OSError as error:
        raise HistoryUnreadable(path=path, why=error.strerror) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        why = f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
        raise HistoryUnreadable(path=path, why=why) from None
    except ValueError as error:
        raise HistoryUnreadable(path=path, why=f"it is not JSON: {error}") from None


def _check_form(found: int, history: Path | str) -> None:
    if found > FORMAT:
        raise HistoryNewer(history=history, found=found, known=FORMAT)


def event_of(workflow: str, told: ExportedEvent) -> Event:
    """Raises UnreadableRecord."""
    return decode_event(
        to_json(told.event),
        workflow=workflow,
        partition=0,
        offset=told.offset,
        timestamp_ms=0,
        limit=sys.maxsize,
    )


def _object(workflow: Workflow[ObjectT, StatusT], record: Record) -> ObjectT | None:
    try:
        return workflow.load(bytes(record.object))
    except Exception:  # It is hidden: whatever else is wrong with it was told.
        return None


class _What(NamedTuple):
    blocks: bool
    status: str
    problem: str
    cure: str


@dataclass
class _Held:
    """What is wrong with a history, and at which versions. moves: whether those are looked at."""

    workflow: Workflow[Any, Any]
    moves: bool
    found: dict[_What, list[int]] = field(default_factory=dict)

    def against(self, history: ExportedHistory) -> Record | None:
        """What the history leads to; None if it can't be folded."""
        record: Record | None = None
        for told in history.events:
            before, record = record, self._folded(record, told)
            if record is None:
                return None
            if before is not None and self.moves:
                self._look_at_move(before, record, told)
            for problem in problems(self.workflow, record, ended=True):
                self._note(record.version, *_what(problem))
        led_to = record and (record.version, record.status or self.workflow.start_name)
        if record is None or (led_to, record.state) != (
            (history.version, history.status),
            history.state,
        ):
            said = f"{history.state} at {history.status}, version {history.version}"
            self._broken(
                history.version,
                history.status,
                f"its events do not lead to where it was: {said}",
            )
            return None
        return record

    def _folded(self, record: Record | None, told: ExportedEvent) -> Record | None:
        version = 1 if record is None else record.version + 1
        status = "its start" if record is None else record.status or self.workflow.start_name
        try:
            event = event_of(self.workflow.name, told)
            after, verdict = fold(record, event, told.offset)
        except StreamwfError as error:
            self._broken(version, status, f"its event can't be read: {error}")
            return None
        if verdict is not Verdict.ACCEPTED:
            self._broken(version, status, f"its event {event.type!r} is not accepted: {verdict}")
            return None
        return after

    def _broken(self, version: int, status: str, problem: str) -> None:
        self._note(version, True, status, problem, "export the history anew")

    def _look_at_move(self, before: Record, after: Record, told: ExportedEvent) -> None:
        workflow = self.workflow
        origin, to = workflow.current(before.status), workflow.current(after.status)
        merged = origin == to and before.status != after.status
        known = workflow.status_type.__members__
        if told.event.get("type") != MOVED or merged or origin not in known or to not in known:
            return
        if to not in workflow.graph.destinations(origin):
            self._note(
                after.version,
                True,
                before.status or workflow.start_name,
                f"it moved on to {to}, and nothing at {origin} leads there any more",
                f"put {to} into to= of what leads there; or, if runs are to go another way from"
                " now on, say moves=False",
            )

    def _note(self, version: int, blocks: bool, status: str, problem: str, cure: str) -> None:
        self.found.setdefault(_What(blocks, status, problem, cure), []).append(version)

    def sorted(self) -> list[ReplayProblem]:
        """What is wrong: first what keeps runs from going on, then by version."""
        listed = sorted(self.found.items(), key=lambda item: (not item[0].blocks, item[1]))
        return [
            ReplayProblem(tuple(versions), what.status, what.blocks, what.problem, what.cure)
            for what, versions in listed
        ]


def _what(problem: Problem) -> _What:
    return _What(problem.blocks, problem.status, problem.problem, problem.cure)


def _told(versions: Sequence[int]) -> str:
    """Versions in short: 2, 4-7."""
    told = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in _ranges(versions))
    return f"version {told}" if len(versions) == 1 else f"versions {told}"


def _ranges(versions: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = versions[0]
    for version in versions[1:]:
        if version != last + 1:
            yield first, last
            first = version
        last = version
    yield first, last
