"""What the examples do, on a clock that is stepped."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from examples.agent import Approval, Task, agents
from examples.agent import Status as AgentStatus
from examples.report import Status as ReportStatus
from examples.report import reports
from examples.sign_up import EXPIRY, Account, sign_up
from examples.sign_up import Status as SignUp
from examples.trip import (
    Booking,
    BookingStatus,
    Trip,
    TripStatus,
    bookings,
    given_back,
    trips,
)
from streamwf import State
from streamwf.errors import NothingCorrelated, NotWaiting
from streamwf.testing import SteppedClock, engine

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")


# ---- sign-up


async def test_a_link_that_is_clicked_confirms_an_account() -> None:
    async with engine(sign_up) as app:
        run = await app.trigger(sign_up, "ann", Account(email="ann@example.org"))
        run = await app.await_status(run, SignUp.AWAITING_CLICK)
        await app.client.callback(sign_up, "confirm", b"", correlation=run.object.token)
        await app.await_status(run, SignUp.CONFIRMED)
        with pytest.raises((NothingCorrelated, NotWaiting)):
            await app.client.callback(sign_up, "confirm", b"", correlation=run.object.token)


async def test_a_mail_that_is_sent_again_is_good_for_as_long_again() -> None:
    async with engine(sign_up) as app:
        run = await app.trigger(sign_up, "ann", Account(email="an@example.org"))
        await app.advance(EXPIRY - HOUR)
        run = await app.callback_when(run, SignUp.AWAITING_CLICK, "resend", "ann@example.org")
        await app.advance(EXPIRY - HOUR)
        await app.await_status(run, SignUp.AWAITING_CLICK)
        found = await app.expect_object(run, lambda account: len(account.mails) == 2)
        assert found.object.email == "ann@example.org"
        await app.advance(HOUR)
        await app.await_status(run, SignUp.EXPIRED)
        with pytest.raises(NotWaiting):
            await app.client.run(sign_up, "ann").callback("confirm", b"")


# ---- trip


def a_trip(**of_the_hotel: bool) -> Trip:
    return Trip(
        traveller="Ann",
        needs=[Booking(what="flight"), Booking(what="hotel", **of_the_hotel), Booking(what="car")],
    )


async def test_a_trip_is_booked_once_all_of_it_is() -> None:
    async with engine(trips, bookings) as app:
        run = await app.trigger(trips, "trip-1", a_trip(slow=True))
        run = await app.get(run)
        assert run.status is TripStatus.BOOKING
        await app.advance(2 * HOUR)
        run = await app.await_status(run, TripStatus.BOOKED)
        assert set(run.object.booked) == {"flight", "hotel", "car"}


async def test_a_trip_of_which_a_part_is_full_gives_the_rest_back() -> None:
    given_back.clear()
    async with engine(trips, bookings) as app:
        run = await app.trigger(trips, "trip-1", a_trip(full=True))
        run = await app.await_status(run, TripStatus.FAILED)
        assert run.object.booked == {}
        assert given_back == ["flight", "car"]
        hotel = await app.client.latest(bookings, "trip-1/hotel")
        assert hotel is not None
        assert hotel.status is BookingStatus.UNAVAILABLE


async def test_a_trip_that_is_cancelled_gives_back_what_is_under_way() -> None:
    given_back.clear()
    async with engine(trips, bookings) as app:
        run = await app.trigger(trips, "trip-1", a_trip(slow=True))
        await app.settle()
        await app.client.cancel(run.run_id, "Ann is ill")
        await app.settle()
        hotel = await app.client.latest(bookings, "trip-1/hotel")
        assert hotel is not None
        assert hotel.state is State.CANCELLED
        assert given_back == ["hotel"]


# ---- agent


async def test_an_agent_asks_before_it_deletes_everything() -> None:
    async with engine(agents) as app:
        run = await app.trigger(agents, "task-1", Task(goal="a tidy mailbox"))
        run = await app.await_status(run, AgentStatus.AWAITING_APPROVAL)
        assert run.object.tool == "delete everything else"
        yes = Approval(approved=True, by="ann", comment="but keep the photos")
        run = await app.callback_when(run, AgentStatus.AWAITING_APPROVAL, "decide", yes)
        assert run.status is AgentStatus.DONE
        assert run.object.answer == "yes: but keep the photos"


async def test_an_agent_that_nobody_answers_does_nothing() -> None:
    async with engine(agents) as app:
        run = await app.trigger(agents, "task-1", Task(goal="a tidy mailbox"))
        await app.advance(timedelta(days=7))
        run = await app.await_status(run, AgentStatus.REFUSED)
        assert run.object.turns[-1].by == "nobody"


# ---- nightly report


async def test_a_report_is_made_at_three_in_berlin_on_the_night_that_the_clocks_change() -> None:
    friday = datetime(2030, 3, 29, 12, tzinfo=BERLIN)
    async with engine(reports, clock=SteppedClock(friday)) as app:
        await app.advance(timedelta(days=4))
        made = [run async for run in app.client.list(reports)]
        # Of Friday and of Monday: on Sunday at two the clocks went forward.
        assert [run.object.day.isoformat() for run in made] == ["2030-03-29", "2030-04-01"]
        assert [run.created_at.astimezone(BERLIN).hour for run in made] == [3, 3]
        assert {run.status for run in made} == {ReportStatus.SENT}
