"""What is asked of a workflow from outside, as events for its log. Pure.

It is judged alike whichever way it comes: by a worker, or by the outbox of a database.
"""

import base64
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from msgspec import UNSET
from pydantic import ValidationError
from pydantic_core import from_json

from . import events
from .callback_views import CallbackRequest, payload_json
from .declared import Callback
from .definition import Workflow
from .errors import InvalidForeignId, InvalidObject, InvalidQuery, RecordTooLarge, UnknownCallback
from .events import Event, check_foreign_id, encode_event, keyed_id
from .views import Trigger

AnyWorkflow = Workflow[Any, Any]
ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


# ---- what is asked, as it goes over any way


def trigger_request(
    workflow: Workflow[ObjectT, StatusT],
    foreign_id: str,
    object: ObjectT,
    at: StatusT | None,
    start_at: datetime | None,
    key: str | None,
) -> Trigger:
    """Raises InvalidObject if there is no JSON for the object."""
    return Trigger(
        foreign_id=foreign_id,
        object=workflow.plain(object),
        status=None if at is None else at.name,
        start_at=start_at,
        key=key,
    )


def callback_request(
    name: str,
    payload: object,
    foreign_id: str | None,
    run_id: str | None,
    correlation: str | None,
    key: str | None,
    wait_for: timedelta,
) -> CallbackRequest:
    """payload: bytes, or what JSON can hold. Raises InvalidPayload and InvalidQuery."""
    raw = isinstance(payload, bytes | bytearray | memoryview)
    return CallbackRequest.of(
        name=name,
        foreign_id=foreign_id,
        run_id=run_id,
        correlation=correlation,
        payload=None if raw else from_json(payload_json(name, payload)),
        payload_base64=base64.b64encode(payload).decode() if raw else None,  # type: ignore[arg-type]
        key=key,
        wait_for=wait_for.total_seconds(),
    )


# ---- what is asked, as events


def trigger_event(
    workflow: AnyWorkflow,
    trigger: Trigger,
    now: datetime,
    *,
    event_id: str,
    run_id: str,
    limit: int,
    unheard: bool = False,
) -> Event:
    """The event of a request to start a run, checked against the definition.

    limit: the most bytes that it may have. unheard: as in `Event`.

    Raises InvalidObject, UnknownStatus, TerminalStart, InvalidForeignId, InvalidQuery and
    RecordTooLarge.
    """
    if trigger.start_at is not None and trigger.start_at.tzinfo is None:
        raise InvalidQuery(field="start_at", why="it has no time zone")
    status = workflow.check_start(trigger.status or "").name
    event = events.request(
        workflow.name,
        events.TRIGGER,
        trigger.foreign_id,
        now,
        event_id=event_id,
        runid=run_id,
        status=status,
        data=workflow.dump_checked(trigger.object),
        startat=trigger.start_at,
        unheard=unheard,
    )
    check_size("object", event, limit)
    return event


def callback_event(
    workflow: AnyWorkflow,
    asked: CallbackRequest,
    now: datetime,
    *,
    event_id: str,
    limit: int,
    kind: str = "",
    unheard: bool = False,
) -> Event:
    """The event of a callback to a run or to the latest of a foreign id.

    event_id: of a callback without a key. limit: the most bytes that it may have.
    kind: of whom it is for, if that is no run of the workflow itself. unheard: as in `Event`.

    Raises UnknownCallback, InvalidPayload, InvalidForeignId, InvalidQuery and RecordTooLarge.
    """
    check_name(workflow, asked.name)
    foreign_id = asked.foreign_id or ""
    known_by = asked.run_id or foreign_id
    if asked.correlation is not None:
        # The same whether it is kept for a run to come, or there is one by now.
        known_by = correlation_subject(workflow, asked)
    event = events.request(
        workflow.name,
        events.CALLBACK,
        foreign_id,
        now,
        event_id=keyed_id(events.CALLBACK, workflow.name, known_by, asked.name, asked.key)
        if asked.key
        else event_id,
        inner=kind,
        runid=asked.run_id or "",
        call=asked.name,
        until=now + timedelta(seconds=asked.wait_for) if asked.wait_for else None,
        unheard=unheard,
        **_payload(asked),
    )
    check_size("payload", event, limit)
    return event


def correlation_subject(workflow: AnyWorkflow, asked: CallbackRequest) -> str:
    """The foreign id of what leads from a correlation value to runs.

    Raises UnknownCallback and InvalidQuery.
    """
    check_name(workflow, asked.name)
    if not asked.name:
        raise InvalidQuery("name", "a correlation is that of a callback: name it")
    subject = workflow.correlation(asked.name, asked.correlation or "")
    try:
        check_foreign_id(subject)
    except InvalidForeignId:
        why = "with the callback's name it has up to 500 characters, and no control characters"
        raise InvalidQuery("correlation", why) from None
    return subject


def check_name(workflow: AnyWorkflow, callback: str) -> None:
    """Raises UnknownCallback, if a callback is named."""
    known = {each for at_status in workflow.callbacks.values() for each in at_status}
    if callback and callback not in known:
        told = ", ".join(sorted(known)) or "none"
        raise UnknownCallback(workflow=workflow.name, name=callback, known=told)


def check_payload(workflow: AnyWorkflow, name: str, data: bytes) -> None:
    """One callback at least of that name has to take what it brings, in JSON or as bytes.

    Raises InvalidPayload.
    """
    refused: tuple[Callback[Any, Any], ValidationError] | None = None
    for at_status in workflow.callbacks.values():
        for callback in at_status.values():
            if callback.name != name:
                continue
            if callback.payload is None:
                return
            try:
                callback.payload.validate_json(data)
                return
            except ValidationError as error:
                refused = callback, error
    if refused is not None:
        callback, why = refused
        raise callback.misfit(workflow.objects.masking, why, data)


def payload_of(event: Event) -> bytes:
    """What a callback brings, in JSON or as bytes."""
    return base64.b64decode(event.data_base64) if event.data is UNSET else bytes(event.data)


def is_repeat(workflow: AnyWorkflow, first: Event, event: Event) -> bool:
    """Whether a request asks for what another of its key has asked for before."""
    if _asks(workflow, first) != _asks(workflow, event):
        return False
    before = _carried(workflow, first)
    # What nobody can open any more is null.
    return before is None or before == _carried(workflow, event)


def _asks(workflow: AnyWorkflow, event: Event) -> tuple[object, ...]:
    if event.type == events.CALLBACK:
        # From a mailbox it comes with more.
        return (event.call,)
    status = event.status or workflow.start_name
    return status, event.startat, event.reason, event.origin


def _carried(workflow: AnyWorkflow, event: Event) -> Any:
    """What a request carries, however it is written."""
    if event.data is UNSET:
        return event.data_base64
    try:
        carried = from_json(bytes(event.data))
        if event.type == events.TRIGGER and carried is not None:
            return workflow.dump_checked(carried)
    except (ValueError, InvalidObject):
        return bytes(event.data)
    return carried


def check_size(what: str, event: Event, limit: int) -> None:
    """Raises RecordTooLarge."""
    size = len(encode_event(event))
    if size > limit:
        raise RecordTooLarge(what=what, size=size, limit=limit)


def _payload(asked: CallbackRequest) -> dict[str, Any]:
    """Raises InvalidPayload and InvalidQuery."""
    if asked.payload_base64 is None:
        return {"data": payload_json(asked.name, asked.payload)}
    try:
        base64.b64decode(asked.payload_base64, validate=True)
    except ValueError as error:
        raise InvalidQuery("payload_base64", str(error)) from None
    return {"data_base64": asked.payload_base64}
