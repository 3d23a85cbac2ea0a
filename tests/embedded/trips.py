"""Trips: a workflow whose runs do all that is traced, and one that they start."""

from datetime import timedelta
from enum import StrEnum, auto
from typing import Any

from opentelemetry import trace
from pydantic import BaseModel

from streamwf import Retry, Run, State, Workflow


class Room(StrEnum):
    ASKED = auto()
    BOOKED = auto()


class Status(StrEnum):
    PAYING = auto()
    BOOKING = auto()
    ARRIVING = auto()
    STAYING = auto()
    LEFT = auto()


class Trip(BaseModel):
    trouble: int = 1


PAYING, BOOKING, ARRIVING = Status.PAYING, Status.BOOKING, Status.ARRIVING
STAYING, LEFT = Status.STAYING, Status.LEFT

DAY = timedelta(days=1)

Trips = Workflow[Trip, Status]
TripRun = Run[Trip, Status]
Rooms = Workflow[dict[str, Any], Room]


def rooms(lag: timedelta = timedelta(0)) -> Rooms:
    workflow: Rooms = Workflow("rooms", dict[str, Any], Room)

    @workflow.step(Room.ASKED, to=Room.BOOKED, lag=lag)
    async def book(run: Run[dict[str, Any], Room]) -> Room:
        return Room.BOOKED

    return workflow


def trips(rooms: Rooms) -> Trips:
    """Pays, at the second attempt; books a room by a child, and waits for it; waits to be called
    on arrival; and leaves three days after that."""
    workflow = Workflow("trips", Trip, Status)

    @workflow.step(PAYING, to=BOOKING, retry=Retry(initial=timedelta(seconds=1), jitter=0))
    def pay(run: TripRun) -> Status:
        with trace.get_tracer("bank").start_as_current_span("bank transfer"):
            if run.attempt <= run.object.trouble:
                raise ConnectionError("the bank is closed")
        run.start(rooms, f"room of {run.foreign_id}", {})
        return BOOKING

    @workflow.step(BOOKING, to=ARRIVING, children="all")
    async def booked(run: TripRun) -> Status:
        assert all(child.state is State.COMPLETED for child in run.children)
        return ARRIVING

    @workflow.callback(ARRIVING, to=STAYING)
    async def arrive(run: TripRun, payload: bytes) -> Status:
        return STAYING

    @workflow.timeout(STAYING, after=3 * DAY, to=LEFT)
    async def leave(run: TripRun) -> Status:
        return LEFT

    @workflow.on_complete
    async def thank(run: TripRun) -> None: ...

    return workflow
