"""1 callback: outside answers move runs, and whoever gave one is told what came of it."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from streamwf import State
from streamwf.errors import (
    ForeignIdNotFound,
    InvalidPayload,
    NothingCorrelated,
    NotWaiting,
    UnknownCallback,
)
from tests.acceptance.flows.callbacks import Answer, Application, callbacks
from tests.acceptance.flows.carried import DONE, FAILED, MORE, WAITING
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

YES = Answer(approved=True, by="ann")
NO = Answer(approved=False, by="bob")


async def waiting(host: Host, name: str, signs: Signs, email: str = "") -> str:
    """The id of a run that waits for its answers."""
    application = Application(folder=signs.folder, email=email)
    run_id = await host.client.trigger(callbacks, name, application)
    await host.client.await_(callbacks, run_id, WAITING)
    return run_id


@row("1 callback", "Several of a status, each by its name, with bytes, text or a type as payload.")
async def test_several_of_a_status(host: Host, name: str, signs: Signs) -> None:
    client = host.client
    run_id = await waiting(host, name, signs)
    told = await client.callback(callbacks, "remark", "schön", foreign_id=name)
    assert (told.outcome, told.run.status if told.run else "") == ("moved", "WAITING")
    await client.callback(callbacks, "scan", b"\x00\xff", foreign_id=name)
    run = await client.await_(callbacks, run_id)
    assert (run.status, run.object.trail) == (DONE, ["schön", "00ff"])


@row("1 callback", "It may lead to one of several statuses, by what came.")
@pytest.mark.parametrize(("answer", "status"), [(YES, DONE), (NO, FAILED)], ids=["yes", "no"])
async def test_it_leads_where_its_payload_says(
    host: Host, name: str, signs: Signs, answer: Answer, status: object
) -> None:
    await waiting(host, name, signs)
    told = await host.client.callback(callbacks, "decide", answer, foreign_id=name)
    assert told.run is not None
    assert told.run.state is State.COMPLETED
    run = await host.client.latest(callbacks, name)
    assert run is not None
    assert (run.status, run.object.trail) == (status, [f"{answer.by}: {answer.approved}"])


@row("1 callback", "The outcome is told: it moved the run, or was of no use to it.")
async def test_the_outcome_is_told(host: Host, name: str, signs: Signs) -> None:
    run_id = await waiting(host, name, signs)
    told = await host.client.callback(callbacks, "decide", {"approved": True}, run_id=run_id)
    assert told.outcome == "skipped"
    assert told.run is not None
    assert told.run.status == "WAITING"
    told = await host.client.callback(callbacks, "decide", YES, run_id=run_id)
    assert told.outcome == "moved"


@row(
    "1 callback",
    "What can't be: no such run, not waiting for it, no such callback, or a payload that does not"
    " fit; and nothing changes.",
)
async def test_what_can_not_be_answered(host: Host, name: str, signs: Signs) -> None:
    client = host.client
    with pytest.raises(ForeignIdNotFound):
        await client.callback(callbacks, "decide", YES, foreign_id=name)
    run_id = await waiting(host, name, signs)
    with pytest.raises(InvalidPayload, match="approved"):
        await client.callback(callbacks, "decide", {"approved": "perhaps"}, foreign_id=name)
    with pytest.raises(UnknownCallback, match="it has: decide, remark, scan"):
        await client.callback(callbacks, "ignore", YES, foreign_id=name)
    run = await client.get(callbacks, run_id)
    assert (run.status, run.object.trail) == (WAITING, [])
    await client.callback(callbacks, "decide", YES, foreign_id=name)
    with pytest.raises(NotWaiting, match="COMPLETED at DONE"):
        await client.callback(callbacks, "decide", NO, foreign_id=name)
    with pytest.raises(NotWaiting, match="COMPLETED at DONE"):
        await client.callback(callbacks, "decide", NO, run_id=run_id)
    assert signs.notes() == ["decide"]


@row("1 callback", "A key makes a repeat harmless, also at the same time.")
async def test_a_repeat_counts_once(host: Host, name: str, signs: Signs) -> None:
    await waiting(host, name, signs)
    told = await asyncio.gather(
        *(
            client.callback(callbacks, "remark", "once", foreign_id=name, key="k")
            for client in host.clients
            for _ in range(3)
        )
    )
    assert {each.outcome for each in told} <= {"moved", "duplicate"}
    again = await host.client.callback(callbacks, "remark", "once", foreign_id=name, key="k")
    assert again.outcome == "duplicate"
    run = await host.client.latest(callbacks, name)
    assert run is not None
    assert run.object.trail == ["once"]
    assert signs.notes() == ["remark"]


@row(
    "1 callback", "The run is known by its foreign id, by its run id, or by a value of its object."
)
@pytest.mark.parametrize("by", ["foreign_id", "run_id", "correlation"])
async def test_by_whatever_the_outside_knows(host: Host, name: str, signs: Signs, by: str) -> None:
    email = f"{name}@example.org"
    run_id = await waiting(host, name, signs, email)
    known = {"foreign_id": name, "run_id": run_id, "correlation": email}[by]
    told = await host.client.callback(callbacks, "decide", YES, **{by: known})
    assert told.outcome == "moved"
    with pytest.raises((NothingCorrelated, NotWaiting)):
        await host.client.callback(callbacks, "decide", YES, **{by: known})


@row("1 callback", "One that comes before its run, or before it is wanted, waits as long as told.")
@pytest.mark.parametrize("by", ["foreign_id", "correlation"])
async def test_one_that_comes_too_early_waits(host: Host, name: str, signs: Signs, by: str) -> None:
    email = f"{name}@example.org"
    known = {"foreign_id": name, "correlation": email}[by]
    minute = timedelta(minutes=1)
    told = await host.client.callback(callbacks, "decide", YES, wait_for=minute, **{by: known})
    assert (told.outcome, told.run) == ("kept", None)
    run_id = await host.client.trigger(
        callbacks, name, Application(folder=signs.folder, email=email)
    )
    run = await host.client.await_(callbacks, run_id)
    assert (run.status, run.object.trail) == (DONE, ["ann: True"])


@row("1 callback", "One that waits for the run to come to its status is answered there.")
async def test_one_that_waits_for_its_status(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("slow")
    run_id = await host.client.trigger(callbacks, name, Application(folder=signs.folder))
    await host.client.await_(callbacks, run_id, MORE)
    told = await host.client.callback(
        callbacks, "decide", YES, foreign_id=name, wait_for=timedelta(minutes=1)
    )
    assert told.outcome == "kept"
    assert told.run is not None
    assert told.run.status == "MORE"
    signs.put_up("looked")
    run = await host.client.await_(callbacks, run_id)
    assert (run.status, run.object.trail) == (DONE, ["ann: True"])


@row("1 callback", "One that nobody came for in time is set aside, with the reason.")
async def test_one_that_waits_in_vain(host: Host, name: str, signs: Signs) -> None:
    told = await host.client.callback(
        callbacks, "decide", YES, foreign_id=name, wait_for=timedelta(seconds=1)
    )
    assert told.outcome == "kept"
    await host.pass_time(timedelta(seconds=1))

    async def set_aside() -> bool:
        letters = await host.dead_letters(callbacks)
        return any(
            msgspec.json.decode(letter.value)["subject"] == name
            and "no run that waits for it came in time" in letter.reason
            for letter in letters
        )

    await host.until(set_aside)
    run_id = await host.client.trigger(callbacks, name, Application(folder=signs.folder))
    run = await host.client.await_(callbacks, run_id, WAITING)
    assert run.object.trail == []
    assert signs.notes() == []
