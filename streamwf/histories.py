"""Histories of runs as files: all that the log has of a run, to be folded again elsewhere. Pure.

A file is kept beside tests, and read by many. So what is masked is masked in it, whoever asks for
it; and what is encrypted is sealed in it, as it is in the log.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET
from pydantic_core import from_json, to_json

from .definition import Workflow
from .events import (
    CHILD,
    Event,
    encode_event,
    object_of,
    pack_starts,
    unpack_ended,
    unpack_starts,
)
from .objects import SEALED_JSON, SEALED_TEXT, is_sealed
from .record import Record, State
from .redaction import MASK, Redaction
from .views import View

#: The form of the files that are written here. It grows when older readers would be wrong.
FORMAT = 1

_HIDDEN = msgspec.Raw(to_json(MASK))

_replace = msgspec.structs.replace


class ExportedEvent(View):
    """An event of a run as it is in the log, and where. event: a CloudEvent as JSON."""

    offset: int
    event: dict[str, Any]


class ExportedHistory(View):
    """A run and all events that have changed it, in order.

    format: of this document. definition: the version of the definition by which the run went on
    when it was exported. version, status, state: what the events led to.
    hides: what keeps some of it from being read: `masked`, `sealed`, or nothing.
    """

    format: int
    workflow: str
    definition: str
    foreign_id: str
    run_id: str
    version: int
    status: str
    state: State
    hides: str
    events: list[ExportedEvent]


def exported(
    workflow: Workflow[Any, Any], record: Record, found: Sequence[tuple[int, Event]]
) -> ExportedHistory:
    """The history of a run. found: all of its events as they lie in the log, with their offsets."""
    hiding = _Hiding(workflow)
    # First the objects: what is masked of them may be in the texts.
    shown = [(offset, hiding.carried(event)) for offset, event in found]
    told = [(offset, hiding.texts(event)) for offset, event in shown] if workflow.masks else shown
    values = [encode_event(event) for _, event in told]
    return ExportedHistory(
        format=FORMAT,
        workflow=workflow.name,
        definition=workflow.definition,
        foreign_id=record.foreign_id,
        run_id=record.run_id,
        version=record.version,
        status=record.status or workflow.start_name,
        state=record.state,
        hides=_hides(workflow, values),
        events=[
            ExportedEvent(offset=offset, event=from_json(value))
            for (offset, _), value in zip(told, values, strict=True)
        ],
    )


def _hides(workflow: Workflow[Any, Any], values: Sequence[bytes]) -> str:
    if any(SEALED_JSON in value or SEALED_TEXT.encode() in value for value in values):
        return "sealed"
    return "masked" if workflow.masks and any(MASK.encode() in value for value in values) else ""


class _Hiding:
    """Takes out of events what nobody is to read in a file."""

    def __init__(self, workflow: Workflow[Any, Any]) -> None:
        self._workflow = workflow
        self._redaction = Redaction()

    def carried(self, event: Event) -> Event:
        """An event without who has asked for it, and without the masked fields of what it brings.

        What comes from other workflows, and what outsiders bring, may hold anything.
        """
        event = _replace(event, by="", traceparent="")
        if not self._workflow.masks:
            return event
        if event.starts and not event.starts.startswith(SEALED_TEXT):
            starts = [_replace(start, data=_HIDDEN) for start in unpack_starts(event.starts)]
            event = _replace(event, starts=pack_starts(starts))
        if event.data_base64 and not event.data_base64.startswith(SEALED_TEXT):
            event = _replace(event, data_base64="", data=_HIDDEN)
        if event.data is UNSET or is_sealed(event.data):
            return event
        return _replace(event, data=self._data(event))

    def _data(self, event: Event) -> msgspec.Raw:
        if event.type == CHILD:
            return msgspec.Raw(
                encode_event(_replace(unpack_ended(event), object=_HIDDEN, reason=""))
            )
        data = object_of(event)
        if data is None or not self._workflow.objects.masks:
            return _HIDDEN if data is None else data
        return msgspec.Raw(to_json(self._workflow.objects.masked(bytes(data), self._redaction)))

    def texts(self, event: Event) -> Event:
        """An event whose texts tell nothing of masked fields."""
        return _replace(
            event,
            reason=self._text(event.reason),
            errormessage=self._text(event.errormessage),
            errortrace=self._text(event.errortrace),
            correlations=_without(event.correlations),
        )

    def _text(self, text: str) -> str:
        return text if text.startswith(SEALED_TEXT) else self._redaction.of(text)


def _without(text: str) -> str:
    return text if not text or text.startswith(SEALED_TEXT) else MASK
