"""A trip: a flight, a hotel and a car are booked side by side, all of them or none.

Each booking is a run of its own. If one fails, or the trip is cancelled, those that were made are
given back.
"""

from datetime import timedelta
from enum import StrEnum, auto
from typing import TypeAlias

from pydantic import BaseModel

from streamwf import Fatal, Retry, Run, State, Workflow


class Booking(BaseModel):
    """Something to be booked. full: there is none left."""

    what: str
    full: bool = False
    slow: bool = False
    confirmation: str = ""


class BookingStatus(StrEnum):
    REQUESTED = auto()
    HELD = auto()
    TAKEN = auto()
    UNAVAILABLE = auto()
    GIVEN_BACK = auto()


class Trip(BaseModel):
    """A trip and what it takes. booked: the confirmation of each."""

    traveller: str
    needs: list[Booking]
    booked: dict[str, str] = {}


class TripStatus(StrEnum):
    PLANNED = auto()
    BOOKING = auto()
    BOOKED = auto()
    GIVING_BACK = auto()
    FAILED = auto()


BookingRun: TypeAlias = Run[Booking, BookingStatus]
TripRun: TypeAlias = Run[Trip, TripStatus]

bookings = Workflow(
    "bookings", Booking, BookingStatus, start=BookingStatus.REQUESTED, example=Booking(what="hotel")
)
trips = Workflow(
    "trips",
    Trip,
    TripStatus,
    example=Trip(traveller="Ann", needs=[Booking(what="flight"), Booking(what="hotel")]),
)


@bookings.step(
    BookingStatus.REQUESTED,
    to=[BookingStatus.TAKEN, BookingStatus.HELD],
    on_error=BookingStatus.UNAVAILABLE,
    retry=Retry(initial=timedelta(milliseconds=50), attempts=3),
)
async def book(run: BookingRun) -> BookingStatus:
    if run.object.full:
        raise Fatal(f"no {run.object.what} is left")
    run.object.confirmation = f"{run.object.what}-{run.idempotency_key}"
    return BookingStatus.HELD if run.object.slow else BookingStatus.TAKEN


@bookings.timeout(BookingStatus.HELD, after=timedelta(hours=2), to=BookingStatus.TAKEN)
async def confirmed_at_last(run: BookingRun) -> BookingStatus:
    return BookingStatus.TAKEN


@bookings.on_cancel
async def give_back(run: BookingRun) -> None:
    # Tried again until it succeeds: a service that knows the confirmation gives the place back.
    given_back.append(run.object.what)


#: What was given back, for want of a booking service.
given_back: list[str] = []


@trips.step(TripStatus.PLANNED, to=TripStatus.BOOKING)
async def begin(run: TripRun) -> TripStatus:
    for need in run.object.needs:
        # Cancelled with the trip while they are under way.
        foreign_id = f"{run.foreign_id}/{need.what}"
        run.start(bookings, foreign_id, need, cancel_with_parent=True)
    return TripStatus.BOOKING


@trips.step(TripStatus.BOOKING, to=[TripStatus.BOOKED, TripStatus.GIVING_BACK], children="all")
async def all_have_ended(run: TripRun) -> TripStatus:
    """No thread and no task waits meanwhile."""
    for child in run.children:
        if child.state is State.COMPLETED and child.status == BookingStatus.TAKEN.name:
            run.object.booked[child.object["what"]] = child.object["confirmation"]
    complete = len(run.object.booked) == len(run.object.needs)
    return TripStatus.BOOKED if complete else TripStatus.GIVING_BACK


@trips.step(TripStatus.GIVING_BACK, to=TripStatus.FAILED)
async def compensate(run: TripRun) -> TripStatus:
    given_back.extend(run.object.booked)
    run.object.booked.clear()
    return TripStatus.FAILED
