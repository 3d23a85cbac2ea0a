"""What a message leads to, as events for the workflow's log. Pure.

Their ids are derived from the message's place, so that each counts once however often it is read.
"""

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import events
from .callback_views import payload_json
from .connector import MARK
from .definition import Workflow
from .errors import (
    ConnectorReturned,
    InvalidQuery,
    RecordTooLarge,
)
from .events import Event, derived_id, encode_event, request
from .record import CONNECTOR, CORRELATION
from .requesting import check_name, check_payload
from .sources import Call, Message, Start


@dataclass(frozen=True, slots=True)
class Leading:
    """Makes the events of one connector. limit: the most bytes that one may have."""

    workflow: Workflow[Any, Any]
    name: str
    limit: int

    def events(
        self, message: Message, led: object, now: datetime, traceparent: str = ""
    ) -> list[Event]:
        """The events of what a message has led to. traceparent: what they come of.

        Raises ConnectorReturned, InvalidQuery, UnknownCallback, InvalidPayload, RecordTooLarge,
        and what a trigger is refused for.
        """
        before: Counter[tuple[str, ...]] = Counter()
        made = []
        for each in self._each(led):
            target = _target(each)
            place = (message.partition, message.position)
            run_id = derived_id(
                self.workflow.name, CONNECTOR, self.name, *place, *target, before[target]
            )
            before[target] += 1
            why = f"connector {self.name}, partition {place[0]}, position {place[1]}"
            if isinstance(each, Start):
                event = self._trigger(each, run_id, why, now, traceparent)
            else:
                event = self._callback(each, run_id, why, now, traceparent)
            size = len(encode_event(event))
            if size > self.limit:
                raise RecordTooLarge(what="object or payload", size=size, limit=self.limit)
            made.append(event)
        return made

    def _each(self, led: object) -> Iterator[Start[Any, Any] | Call]:
        several = led if isinstance(led, Sequence) and not isinstance(led, str | bytes) else [led]
        for each in several:
            if isinstance(each, Start | Call):
                yield each
            elif each is not None:
                raise ConnectorReturned(name=self.name, returned=type(each).__name__)

    def _trigger(
        self, start: Start[Any, Any], run_id: str, why: str, now: datetime, traceparent: str
    ) -> Event:
        if start.start_at is not None and start.start_at.tzinfo is None:
            raise InvalidQuery(field="start_at", why="it has no time zone")
        workflow = self.workflow
        return request(
            workflow.name,
            events.TRIGGER,
            start.foreign_id,
            now,
            event_id=f"{MARK}{run_id}",
            runid=run_id,
            status=workflow.check_start("" if start.at is None else start.at.name).name,
            data=workflow.dump_checked(workflow.plain(start.object)),
            startat=start.start_at,
            reason=why,
            traceparent=traceparent,
        )

    def _callback(
        self, call: Call, call_id: str, why: str, now: datetime, traceparent: str
    ) -> Event:
        correlated = call.correlation is not None
        if correlated == (call.foreign_id is not None) or (correlated and call.run_id is not None):
            raise InvalidQuery(field="call", why="say its foreign_id or its correlation")
        subject = (
            call.foreign_id or ""
            if call.correlation is None
            else self.workflow.correlation(call.name, call.correlation)
        )
        payload = self._payload(call)
        return request(
            self.workflow.name,
            events.CALLBACK,
            subject,
            now,
            event_id=f"{MARK}{call_id}",
            inner=CORRELATION if correlated else "",
            runid=call.run_id or "",
            call=call.name,
            until=now + call.wait_for if call.wait_for else None,
            reason=why,
            traceparent=traceparent,
            **payload,
        )

    def _payload(self, call: Call) -> dict[str, Any]:
        """The payload of a callback, which one at least of that name takes."""
        check_name(self.workflow, call.name)
        if isinstance(call.payload, bytes):
            check_payload(self.workflow, call.name, call.payload)
            return {"data_base64": base64.b64encode(call.payload).decode()}
        data = payload_json(call.name, call.payload)
        check_payload(self.workflow, call.name, data)
        return {"data": data}


def _target(each: Start[Any, Any] | Call) -> tuple[str, ...]:
    """For whom it is: of one message, several for the same are told apart by their order."""
    if isinstance(each, Start):
        return ("start", each.foreign_id)
    return ("call", each.name, each.foreign_id or "", each.run_id or "", each.correlation or "")
