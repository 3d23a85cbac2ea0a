"""What is shown of runs to those who may not see masked fields.

Who that is, access.py says.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from pydantic_core import from_json, to_json

from .access import sees_masked
from .definition import Workflow
from .events import Event
from .record import CORRELATION, SCHEDULE, Record, decode_record, encode_record
from .redaction import MASK, Redaction
from .schedules import Plan, encode_plan
from .views import ChildView, ErrorView, EventView, RunView

AnyWorkflow = Workflow[Any, Any]
ViewT = TypeVar("ViewT", RunView, EventView, ChildView)

_replace = msgspec.structs.replace
_decode_plan = msgspec.json.Decoder(Plan).decode


def for_who_asks(workflow: AnyWorkflow, record: Record, view: RunView) -> RunView:
    """A run as it is shown to whoever asks. record: of the view, in plain."""
    if not workflow.masks or sees_masked(workflow.name):
        return view
    redaction = Redaction()
    # First the object: what is masked of it may be in the texts.
    carried = _carried(workflow, record.kind, bytes(record.object), view.object, redaction)
    children = [_redacted(child, redaction) for child in view.children]
    # What leads from a value to runs is called by that value.
    foreign_id = MASK if record.kind == CORRELATION else view.foreign_id
    changed = {"object": carried, "children": children, "foreign_id": foreign_id}
    return _redacted(view.model_copy(update=changed), redaction)


def events_for_who_asks(
    workflow: AnyWorkflow, kind: str, events: Sequence[Event], views: Sequence[EventView]
) -> list[EventView]:
    """The history of a run as it is shown to whoever asks. events: of the views, in plain.

    kind: of the run, if it is an inner one.
    """
    if not workflow.masks or sees_masked(workflow.name):
        return [*views]
    redaction, masked = Redaction(), []
    for event, view in zip(events, views, strict=True):
        if view.object is not None and event.data is not UNSET:
            carried = _carried(workflow, kind, bytes(event.data), view.object, redaction)
            view = view.model_copy(update={"object": carried})
        masked.append(view)
    return [_redacted(view, redaction) for view in masked]


def masked_row(workflow: AnyWorkflow, row: str) -> str:
    """A row of a table without what is masked, and without what others have brought."""
    try:
        record = decode_record(row)
    except msgspec.DecodeError:
        return MASK
    redaction, hidden = Redaction(), msgspec.Raw(to_json(MASK))
    data = bytes(record.object)
    carried = _carried(workflow, record.kind, data, _plain(data), redaction)
    children = (_replace(each, object=hidden) for each in record.children)
    shown = _replace(
        record,
        foreign_id=MASK if record.kind == CORRELATION else record.foreign_id,
        object=msgspec.Raw(to_json(carried)),
        reason=redaction.of(record.reason),
        error=record.error and _replace(record.error, message=MASK, traceback=MASK),
        calls=tuple(_replace(call, payload=hidden, bytes64="") for call in record.calls),
        children=tuple(_replace(each, reason=redaction.of(each.reason)) for each in children),
        correlations=record.correlations and MASK,
    )
    return encode_record(shown).decode()


def _carried(workflow: AnyWorkflow, kind: str, data: bytes, view: Any, redaction: Redaction) -> Any:
    """What a run carries. view: all of it."""
    objects = workflow.objects
    if kind == SCHEDULE and objects.masks:
        return _plan(workflow, data, redaction)
    if kind or not objects.masks:
        return view
    return objects.masked(data, redaction)


def _plan(workflow: AnyWorkflow, data: bytes, redaction: Redaction) -> Any:
    try:
        plan = _decode_plan(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return MASK
    shown = to_json(workflow.objects.masked(bytes(plan.spec.object), redaction))
    spec = _replace(plan.spec, object=msgspec.Raw(shown))
    return from_json(encode_plan(_replace(plan, spec=spec)))


def _redacted(view: ViewT, redaction: Redaction) -> ViewT:
    """A view without what is masked in its texts."""
    changed: dict[str, Any] = {"reason": redaction.of(view.reason)}
    error: ErrorView | None = getattr(view, "error", None)
    if error is not None:
        message, trace = redaction.of(error.message), redaction.of(error.traceback)
        changed["error"] = error.model_copy(update={"message": message, "traceback": trace})
    return view.model_copy(update=changed)


def _plain(data: bytes) -> Any:
    try:
        return from_json(data)
    except ValueError:
        return data.decode("utf-8", "replace")
