"""Folding one event after the other onto a run, and what that leads to elsewhere."""

from typing import Any

import msgspec

from streamwf import Workflow
from streamwf.emit import Emission, emissions
from streamwf.events import CANCEL, CANCELLED, CHILD, MOVED, REJECTED, Ended, Event, encode_event
from streamwf.fold import Verdict, fold
from streamwf.record import Child, Record, State
from tests.support import THEN, asked, result, steer
from tests.unit.sample import orders


def accepted(before: Record | None, *events: Event) -> Record:
    """The run after events that are all accepted."""
    for event in events:
        before, verdict = fold(before, event, 9)
        assert verdict is Verdict.ACCEPTED
    assert before is not None
    return before


def refused(before: Record | None, event: Event) -> Verdict:
    """Why an event changes nothing."""
    after, verdict = fold(before, event, 9)
    assert after is before
    return verdict


def same_but(before: Record, after: Record, **changed: object) -> bool:
    """Whether a request that no step needs to know of has changed that, and nothing else."""
    noted = {"version": before.version + 1, "lag": before.lag + 1, "updated_at": THEN}
    also = {"offsets": (*before.offsets, 9), **changed}
    return after == msgspec.structs.replace(before, **noted, **also)


def emitted(
    before: Record | None, event: Event, workflow: Workflow[Any, Any] | None = None
) -> list[Emission]:
    """What an event leads to that is accepted: the same each time that it is folded."""
    after, verdict = fold(before, event, 9)
    assert verdict is Verdict.ACCEPTED
    found = list(emissions(workflow or orders(), before, after, event))
    again = list(emissions(workflow or orders(), before, after, event))
    assert [encode_event(e.event) for e in found] == [encode_event(e.event) for e in again]
    assert len({e.event.id for e in found}) == len(found)
    return found


def kinds(found: list[Emission]) -> list[str]:
    return [emission.event.type for emission in found]


CHILD_1 = Child("parcels", "p-1", "child-1")
CHILD_2 = Child("parcels", "p-2", "child-2")


def ended(run_id: str = "child-1", event_id: str = "", **fields: object) -> Event:
    told = {
        "workflow": "parcels",
        "foreign_id": "p-1",
        "run_id": run_id,
        "state": State.COMPLETED,
        "status": "SENT",
        "object": msgspec.Raw(b'{"kg":2}'),
        **fields,
    }
    return asked(CHILD, event_id or f"end-of-{run_id}", data=encode_event(Ended(**told)))


#: How a run can end, and the state that it is in then.
COMPLETES = result(MOVED, 3, status="DONE", state=State.COMPLETED)
ENDS: list[tuple[Event, State]] = [
    (COMPLETES, State.COMPLETED),
    (steer(CANCEL, "r", reason="enough"), State.CANCELLED),
    (result(CANCELLED, 3, state=State.CANCELLED, reason="enough"), State.CANCELLED),
    (result(REJECTED, 3, state=State.CANCELLED, reason="enough"), State.CANCELLED),
]
