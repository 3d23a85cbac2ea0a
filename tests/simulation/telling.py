"""A story for people: what was planned, what happened in which order, and what is wrong with it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from streamwf.events import decode_event
from tests.proof.story import Executed, Story
from tests.simulation.flows import NAME
from tests.simulation.outcome import Outcome, command
from tests.simulation.world import BEGINNING, World

#: Lines of what has happened that are told at most.
LINES = 250

#: What is left out of an event, as it says nothing here.
_SAID = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "runid", "definition", "errortrace"}
)

Line = tuple[float, str]


def tell(outcome: Outcome) -> str:
    """All of it."""
    plan = outcome.plan
    lines = [
        f"seed {plan.seed}: {len(outcome.broken)} broken, with {len(plan.entries)} entries",
        *(f"  BROKEN {each.promise}: {each.what}" for each in outcome.broken[:12]),
        f"replay: {command(outcome)}",
        f"{plan.setup}",
        *(f"  S{n}: {node}" for n, node in enumerate(plan.spec.nodes)),
        f"  hooks {plan.spec.hooks}, auto_resume {plan.spec.auto_resume} s",
        "plan:",
        *(f"  {entry}" for entry in plan.entries),
    ]
    if outcome.world is not None:
        happened = sorted(_happened(outcome.world, outcome.story), key=lambda line: line[0])
        lines.append(f"what happened ({len(happened)} lines, the last {LINES}):")
        lines += [f"{at:9.4f} {what}" for at, what in happened[-LINES:]]
    return "\n".join(lines)


def _happened(world: World, story: Story | None) -> Iterator[Line]:
    for at, what, fields in world.told:
        told = " ".join(f"{name}={value}" for name, value in fields.items())
        yield at, f"{what} {told}"
    if story is None:
        return
    for partition, log in story.logs.items():
        for record in log:
            yield record.timestamp / 1000 - BEGINNING.timestamp(), _record(partition, record)
    for call in story.executed:
        yield _seconds(call.began), f"  {call.worker} began {_call(call)}"
        if call.ended is not None:
            yield _seconds(call.ended), f"  {call.worker} ended {_call(call)} -> {call.outcome}"


def _call(call: Executed) -> str:
    told = f"{call.kind} {call.name}".strip()
    return f"{told} of {call.foreign_id} {call.run_id[:12]} at {call.status} v{call.version}"


def _record(partition: int, record: Any) -> str:
    place = f"  log {partition}/{record.offset}"
    try:
        event = decode_event(
            record.value,
            workflow=NAME,
            partition=partition,
            offset=record.offset,
            timestamp_ms=record.timestamp,
            limit=1_000_000,
        )
    except Exception as error:
        return f"{place} unreadable: {error}"
    said = msgspec.json.decode(msgspec.json.encode(event))
    told = " ".join(f"{k}={v}" for k, v in said.items() if k not in _SAID)
    return f"{place} {event.type} {event.subject} {event.runid[:12]} id={event.id[:12]} {told}"


def _seconds(at: datetime) -> float:
    return (at - BEGINNING).total_seconds()
