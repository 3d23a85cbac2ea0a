"""What is shown of runs to those who may not see masked fields.

Who that is, is settled once for all that is asked in one go: around it lies `masking_views()`.
Without that, whoever asks is the program itself, and sees all.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from pydantic_core import from_json, to_json

from .definition import Workflow
from .errors import UnreadableRecord
from .events import CALLBACK, CHILD, Event, unpack_ended
from .record import SCHEDULE, Record, decode_record, encode_record
from .redaction import MASK, Redaction
from .schedules import Plan, encode_plan
from .views import ChildView, ErrorView, EventView, RunView

AnyWorkflow = Workflow[Any, Any]
ViewT = TypeVar("ViewT", RunView, EventView, ChildView)

_masking: ContextVar[bool] = ContextVar("streamwf_masking", default=False)

_decode_plan = msgspec.json.Decoder(Plan).decode


@contextmanager
def masking_views() -> Iterator[None]:
    """Whoever asks in this block may not see masked fields."""
    token = _masking.set(True)
    try:
        yield
    finally:
        _masking.reset(token)


def masks_views() -> bool:
    """Whether whoever asks now may not see masked fields."""
    return _masking.get()


def for_who_asks(workflow: AnyWorkflow, record: Record, view: RunView) -> RunView:
    """A run as it is shown to whoever asks. record: of the view, in plain."""
    if not masks_views() or not workflow.masks:
        return view
    redaction = Redaction()
    # First the object: what is masked of it may be in the texts.
    carried = _carried(workflow, record.kind, bytes(record.object), view.object, redaction)
    children = [_redacted(child, redaction) for child in view.children]
    view = view.model_copy(update={"object": carried, "children": children})
    return _redacted(view, redaction)


def events_for_who_asks(
    workflows: Mapping[str, AnyWorkflow],
    workflow: AnyWorkflow,
    kind: str,
    events: Sequence[Event],
    views: Sequence[EventView],
) -> list[EventView]:
    """The history of a run as it is shown to whoever asks. events: of the views, in plain.

    workflows: those that are known here. kind: of the run, if it is an inner one.
    """
    if not masks_views():
        return [*views]
    redaction = Redaction()
    masked = [
        view.model_copy(update={"object": _brought(workflows, workflow, kind, event, redaction)})
        if event.data is not UNSET and view.object is not None
        else view
        for event, view in zip(events, views, strict=True)
    ]
    if not workflow.masks:
        return masked
    return [_redacted(view, redaction) for view in masked]


def masked_row(workflow: AnyWorkflow, row: str) -> str:
    """A row of a table without what is masked, and without what came from other runs."""
    record, redaction = decode_record(row), Redaction()
    data = bytes(record.object)
    carried = _carried(workflow, record.kind, data, _plain(data), redaction)
    error = record.error and msgspec.structs.replace(
        record.error,
        message=redaction.of(record.error.message),
        traceback=redaction.of(record.error.traceback),
    )
    hidden = msgspec.Raw(to_json(MASK))
    shown = msgspec.structs.replace(
        record,
        object=msgspec.Raw(to_json(carried)),
        reason=redaction.of(record.reason),
        error=error,
        calls=tuple(
            msgspec.structs.replace(call, payload=hidden, bytes64="") for call in record.calls
        ),
        children=tuple(
            msgspec.structs.replace(child, object=hidden, reason=redaction.of(child.reason))
            for child in record.children
        ),
    )
    return encode_record(shown).decode()


def _brought(
    workflows: Mapping[str, AnyWorkflow],
    workflow: AnyWorkflow,
    kind: str,
    event: Event,
    redaction: Redaction,
) -> Any:
    """What an event says of an object, or of what else it brings."""
    data = b"" if event.data is UNSET else bytes(event.data)
    if event.type == CHILD:
        return _ended(workflows, event, redaction)
    if event.type == CALLBACK:
        return _payload(workflow, event.call, data, redaction)
    return _carried(workflow, kind, data, _plain(data), redaction)


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
    spec = msgspec.structs.replace(plan.spec, object=msgspec.Raw(shown))
    return from_json(encode_plan(msgspec.structs.replace(plan, spec=spec)))


def _payload(workflow: AnyWorkflow, name: str, data: bytes, redaction: Redaction) -> Any:
    """What a callback has brought. If objects have masked fields, it may be meant for them; only a
    payload with masked fields of its own says what of it is."""
    known = [
        callback
        for at_status in workflow.callbacks.values()
        for callback in at_status.values()
        if name in ("", callback.name)
    ]
    maskings = [each.masking for each in known if each.masking is not None and each.masking.masks]
    if not maskings and not workflow.objects.masks:
        return _plain(data)
    workflow.objects.masking.guess(data, redaction)
    if len(maskings) != 1 or len(known) != 1:
        return MASK
    return maskings[0].shown_json(data, redaction)


def _ended(workflows: Mapping[str, AnyWorkflow], event: Event, redaction: Redaction) -> Any:
    """What a child has told at its end. Of a workflow that is not known here, nobody knows what is
    masked."""
    try:
        ended = unpack_ended(event)
    except UnreadableRecord:
        return MASK
    told: dict[str, Any] = _plain(msgspec.json.encode(ended))
    child = workflows.get(ended.workflow)
    if told.get("object") is not None and child is None:
        told["object"] = MASK
    elif told.get("object") is not None and child is not None and child.objects.masks:
        told["object"] = child.objects.masked(bytes(ended.object), redaction)
    return told


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
