"""Which runs in progress a definition can go on with, which it can't, and why. Pure.

A record says where its former definition has left a run; here it is held against another one.
"""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from .declared import Callback
from .definition import Workflow
from .errors import InvalidObject
from .objects import is_sealed
from .record import DELETED, LIVE, Call, Record, State
from .redaction import MASK

AnyWorkflow = Workflow[Any, Any]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What a run in progress meets under another definition.

    status: as it is stored, under its former name. blocks: whether the run can't go on; else it
    goes on, without something that it had.
    """

    workflow: str
    foreign_id: str
    run_id: str
    status: str
    state: State
    blocks: bool
    problem: str
    cure: str


class _Found(NamedTuple):
    blocks: bool
    problem: str
    cure: str


def problems(
    workflow: AnyWorkflow, record: Record, *, whole: bool = True, ended: bool = False
) -> list[Problem]:
    """What keeps a run from going on under this definition, and what it would lose.

    whole: whether the record has all that the run waits for. What is told of a run over HTTP, or
    in its history, leaves some of it out; it is taken to be in order then.
    ended: whether a run that has ended is looked at, too, as far as it is told still.
    """
    live = record.state in LIVE
    if record.kind or record.state in DELETED or not (live or ended):
        return []
    at_status = _at_status(workflow, record, whole) if live else _named(workflow, record)
    return [
        Problem(
            workflow.name,
            record.foreign_id,
            record.run_id,
            record.status or workflow.start_name,
            record.state,
            *found,
        )
        for found in (*at_status, *_object(workflow, record))
    ]


# ---- where the run is, and what it waits for


def _at_status(workflow: AnyWorkflow, record: Record, whole: bool) -> Iterator[_Found]:
    status = workflow.current(record.status)
    if status not in workflow.status_type.__members__:
        yield from _named(workflow, record)
    elif workflow.terminal(status):
        yield _Found(
            True,
            f"nothing follows {status}: a run would stay there and never complete",
            f"declare a step at {status}, or cancel these runs first",
        )
    else:
        if whole:
            yield from _onward(workflow, record, status)
        yield from _timers(workflow, record, status)
        yield from _children(workflow, record, status)
    yield from _calls(workflow, record, whole)


def _named(workflow: AnyWorkflow, record: Record) -> Iterator[_Found]:
    status = workflow.current(record.status)
    if status not in workflow.status_type.__members__:
        yield _Found(
            True,
            f"there is no status {status} any more",
            f"say what it is now, renamed={{{status!r}: STATUS}}, or put it back with a step",
        )


def _onward(workflow: AnyWorkflow, record: Record, status: str) -> Iterator[_Found]:
    """What waits was set when the status was entered. Something declared since wakes no run."""
    if status in workflow.callbacks:
        return
    due = record.due_at is not None
    if status in workflow.steps and (due or record.skipped or record.waits):
        return
    if any(timer.name in workflow.timeouts.get(status, {}) for timer in record.timers):
        return
    if due and not record.entered:
        return
    yield _Found(
        True,
        f"nothing that it waits for is declared at {status} any more",
        f"keep what was declared at {status} until no run is there, or cancel these runs first",
    )


def _timers(workflow: AnyWorkflow, record: Record, status: str) -> Iterator[_Found]:
    declared = workflow.timeouts.get(status, {})
    for timer in record.timers:
        if timer.name not in declared:
            yield _Found(
                False,
                f"timeout {timer.name!r} waits, and is not declared at {status}: it will not fire",
                f"declare a timeout at {status} with name={timer.name!r}, if it is still wanted",
            )


def _children(workflow: AnyWorkflow, record: Record, status: str) -> Iterator[_Found]:
    step = workflow.steps.get(status)
    if record.waits and (step is None or step.children is None):
        yield _Found(
            False,
            f"it waits for runs that it has started, and the step at {status} no longer does",
            f'say children="{record.waits}" at the step; else it runs as if it still did',
        )


def _calls(workflow: AnyWorkflow, record: Record, whole: bool) -> Iterator[_Found]:
    """Answers from outside that were accepted. One may be for a status that is still to come."""
    declared: dict[str, list[Callback[Any, Any]]] = {}
    for at_status in workflow.callbacks.values():
        for callback in at_status.values():
            declared.setdefault(callback.name, []).append(callback)
    for call in record.calls:
        known = declared.get(call.name) if call.name else [*chain(*declared.values())]
        if not known:
            yield _Found(
                True,
                f"an answer to callback {call.name!r} waits, and there is none such any more",
                f"keep the callback with name={call.name!r} until it is answered",
            )
        elif whole and not any(_reads(callback, call) for callback in known):
            yield _Found(
                True,
                f"an answer to callback {call.name!r} waits, and does not fit its payload any more",
                "let payload= read what came before, until it is answered",
            )


def _reads(callback: Callback[Any, Any], call: Call) -> bool:
    # Sealed bytes are text that is no base64; only a worker could open them.
    if callback.payload is None or is_sealed(call.payload) or ":" in call.bytes64:
        return True
    if bytes(call.payload) == to_json(MASK):
        return True
    try:
        callback.payload.validate_json(b64decode(call.bytes64) or bytes(call.payload))
    except Exception:  # The validators of users' types may raise anything.
        return False
    return True


# ---- what the run carries


def _object(workflow: AnyWorkflow, record: Record) -> Iterator[_Found]:
    if is_sealed(record.object):
        yield _Found(
            False,
            "its object is sealed, and was not looked at",
            "check against the URL of a worker, which opens it",
        )
        return
    data = bytes(record.object)
    hidden = workflow.objects.masks and MASK.encode() in data
    if hidden:
        yield _Found(
            False,
            "its object has masked fields, which were not looked at",
            "check against kafka, which has their values",
        )
    try:
        carried = workflow.load(data)
        again = data if hidden else workflow.dump(carried)
    except InvalidObject as error:
        wrong = [item for item in error.errors if not (hidden and _masked(data, item["field"]))]
        if not wrong:
            return
        said = (f"{_anywhere(item['field'])}: {item['message']}" for item in wrong)
        told = f"its object does not fit: {'; '.join(dict.fromkeys(said))}"
    except Exception as error:  # The validators of users' types may raise anything.
        if hidden:
            return
        told = f"its object can't be read: {type(error).__name__}: {error}"
    else:
        lost = (_anywhere(".".join(map(str, path))) for path in _lost(workflow, data, again))
        for path in dict.fromkeys(lost):
            yield _Found(
                False,
                f"its object has {path}, which no field takes: it will be lost",
                "keep the field, or let another one read it with a validation alias",
            )
        return
    yield _Found(
        True, told, "give what is new a default, and let the type read what was stored before"
    )


def _masked(data: bytes, field: str) -> bool:
    """Whether what does not fit is there, and only its mask is known."""
    found = from_json(data)
    for part in field.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
    return isinstance(found, str) and MASK in found


def _lost(workflow: AnyWorkflow, data: bytes, again: bytes) -> Iterator[Path]:
    """Paths of what is in the data and not in the object that it leads to."""
    given = from_json(data)
    for path in _missing(given, from_json(again)):
        # What a field reads under another name makes a difference to the object.
        if _without(workflow, data, path) == again:
            yield path


def _missing(given: Any, kept: Any, path: Path = ()) -> Iterator[Path]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                yield from _missing(value, kept[name], (*path, name))
            else:
                yield (*path, name)
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from _missing(value, other, (*path, number))


def _without(workflow: AnyWorkflow, data: bytes, path: Path) -> bytes | None:
    """The object without what lies at a path; None if it is nothing then."""
    changed = from_json(data)
    *way, last = path
    place = changed
    for part in way:
        place = place[part]
    del place[last]
    try:
        return workflow.dump(workflow.load(to_json(changed)))
    except Exception:
        return None


def _anywhere(path: str) -> str:
    """The same for every place of a list, so that many runs have one problem."""
    return ".".join("*" if part.isdecimal() else part for part in path.split("."))
