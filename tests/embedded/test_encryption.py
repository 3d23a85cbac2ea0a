"""Workflows that encrypt, on the embedded host: what a run carries is nowhere in plain, and gone
once its data is deleted."""

import base64
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamwf import Cancel, Client, Pause, Run, Workflow
from streamwf.embedded import EmbeddedHost, embedded
from streamwf.errors import (
    ForeignIdNotFound,
    KeyDestroyed,
    NotWaiting,
)
from streamwf.events import CALLBACK, Event, request
from streamwf.record import State
from streamwf.vault import Vault
from tests.embedded.app import Order, Status, orders, running
from tests.kafka.flows_encrypted import Person
from tests.kafka.flows_encrypted import Status as At
from tests.kafka.flows_encrypted import orders as secretive
from tests.secrecy import forms, opened, tells
from tests.support import NOW, eventually

SECRET, ANSWER = "alice@example.org", "the colour is mauve"
MOMENT = timedelta(seconds=10)

CREATED, PICKED, PACKED, DONE = Status.CREATED, Status.PICKED, Status.PACKED, Status.DONE


def test_the_forms_are_found() -> None:
    """The test of this test."""
    for pad in range(3):
        hidden = base64.b64encode(b"{" * pad + SECRET.encode() + b'"}')
        assert any(form in hidden for form in forms(SECRET))


# ---- from the beginning of a run to its deletion


async def test_a_secret_is_nowhere_in_plain_and_gone_once_it_is_deleted() -> None:
    async with embedded(secretive) as app:
        client, host = app.client, app.host
        run = client.run(secretive, "o-1")
        await client.trigger(secretive, "o-1", Person(secret=SECRET), wait=True)
        asked = await run.await_(At.ASKED, timeout=MOMENT)
        assert asked.object == Person(secret=SECRET, trail=[f"heard {SECRET}"])

        said = await client.callback(secretive, "answer", ANSWER, correlation=SECRET)
        assert said.outcome == "moved"
        done = await run.get()
        assert done.object.trail == [f"heard {SECRET}", f"answered {ANSWER}"]
        told = (await run.history()).events
        assert [event.type for event in told][:3] == ["trigger", "failed", "moved"]
        assert told[0].object == {"secret": SECRET, "trail": []}
        assert told[1].error is not None
        assert told[1].error.message == f"no answer from {SECRET}"
        assert SECRET in told[1].error.traceback
        assert not tells(host, SECRET, ANSWER)
        before = await opened(host, "orders", done.run_id)
        assert SECRET.encode() in before
        assert ANSWER.encode() in before

        await run.delete_data()
        gone = await run.await_(timeout=MOMENT)
        await eventually(lambda: _state(client, done.run_id, State.DATA_DELETED))
        gone = await run.get()
        assert (gone.object, gone.error) == (None, None)
        told = (await run.history()).events
        assert SECRET not in repr(told)
        assert told[0].object is None
        assert told[1].error is not None
        assert (told[1].error.type, told[1].error.message) == ("ValueError", "")
        left = await opened(host, "orders", done.run_id)
        assert SECRET.encode() not in left
        assert ANSWER.encode() not in left
        assert not tells(host, SECRET, ANSWER)

        # The run that it had started has keys of its own.
        child = await client.latest(secretive, "o-1-child")
        assert child is not None
        assert child.object.secret == SECRET
        assert host.verify("orders") == []


async def _state(client: Client, run_id: str, state: State) -> bool:
    page = await client.find()
    return any(run.run_id == run_id and run.state is state for run in page.runs)


# ---- callbacks that come before whom they are for


@pytest.mark.parametrize("by", ["correlation", "foreign_id"])
async def test_a_callback_that_waits_for_its_run_is_sealed_and_its_key_goes(by: str) -> None:
    to = {"correlation": SECRET} if by == "correlation" else {"foreign_id": "o-1"}
    async with embedded(secretive) as app:
        client, host = app.client, app.host
        host_log = host.logs["orders"]
        wait = timedelta(hours=1)
        if by == "correlation":
            event = request(
                *("orders", CALLBACK, secretive.correlation("answer", SECRET), NOW),
                event_id="c-1",
                inner="correlation",
                call="answer",
                until=NOW + timedelta(days=36500),
                data=msgspec.json.encode(ANSWER),
            )
            await host.append("orders", event)
        else:
            kept = await client.callback(secretive, "answer", ANSWER, wait_for=wait, **to)
            assert kept.outcome == "kept"
        assert not tells(host, SECRET, ANSWER)

        await client.trigger(secretive, "o-1", Person(secret=SECRET), wait=True)
        run = await client.run(secretive, "o-1").await_(timeout=MOMENT)

        assert run.object.trail[-1] == f"answered {ANSWER}"
        assert not tells(host, SECRET, ANSWER)
        # Where it waited nobody can read it any more; where it was answered, one can.
        vault = Vault("orders", host.key_provider)
        decode = msgspec.json.Decoder(Event).decode
        calls = [decode(record.value) for record in host_log.records if record.value]
        shown = [await vault.shown_event(call) for call in calls if call.type == CALLBACK]
        assert [bytes(call.data) for call in shown if isinstance(call.data, msgspec.Raw)] == [
            b"null",
            msgspec.json.encode(ANSWER),
        ]


async def test_one_that_names_no_run_is_gone_with_its_answer() -> None:
    """As other workers append them, which can't know the run."""
    async with embedded(secretive) as app:
        client, host = app.client, app.host
        await client.trigger(secretive, "o-1", Person(secret=SECRET), wait=True)
        run = client.run(secretive, "o-1")
        await run.await_(At.ASKED, timeout=MOMENT)
        event = request(
            *("orders", CALLBACK, "o-1", host.clock.now()),
            event_id="c-1",
            call="answer",
            data=msgspec.json.encode(ANSWER),
        )

        await host.append("orders", event)

        done = await run.await_(timeout=MOMENT)
        assert done.object.trail[-1] == f"answered {ANSWER}"
        await eventually(lambda: _destroyed(host, "o-1", "c-1"))
        assert not tells(host, ANSWER)


async def test_one_that_nobody_takes_does_not_reach_the_log() -> None:
    async with embedded(secretive) as app:
        with pytest.raises(ForeignIdNotFound):
            await app.client.callback(secretive, "answer", ANSWER, foreign_id="o-1")
        await app.client.trigger(secretive, "o-1", Person(), at=At.ASIDE, wait=True)
        await app.client.run(secretive, "o-1").await_(timeout=MOMENT)
        before = len(app.host.logs["orders"].records)

        with pytest.raises(NotWaiting):
            await app.client.callback(secretive, "answer", ANSWER, foreign_id="o-1")

        assert len(app.host.logs["orders"].records) == before


async def test_one_that_comes_twice_is_told_so_whatever_became_of_its_run() -> None:
    async with embedded(secretive) as app:
        client = app.client
        await client.trigger(secretive, "o-1", Person(), wait=True)
        run = client.run(secretive, "o-1")
        await run.await_(At.ASKED, timeout=MOMENT)
        said = [await run.callback("answer", ANSWER, key="once") for _ in range(2)]
        done = await run.await_(timeout=MOMENT)
        await run.delete_data()
        await eventually(lambda: _state(client, done.run_id, State.DATA_DELETED))
        said.append(await run.callback("answer", ANSWER, key="once"))

        assert [each.outcome for each in said] == ["moved", "duplicate", "duplicate"]
        assert not tells(app.host, ANSWER)


async def test_one_that_is_refused_all_the_same_loses_its_key() -> None:
    async with embedded(secretive) as app:
        event = request(
            "orders", CALLBACK, "nobody", NOW, event_id="c-1", call="answer", data=b'"psst"'
        )

        await app.host.append("orders", event)

        await eventually(lambda: _destroyed(app.host, "nobody", "c-1"))


async def _destroyed(host: EmbeddedHost, foreign_id: str, run_id: str) -> bool:
    try:
        await host.key_provider.obtain("orders", foreign_id, run_id)
    except KeyDestroyed:
        return True
    return False


# ---- what a step says


def encrypted(**options: Any) -> Workflow[Order, Status]:
    return orders(encrypt=True, **options)


@pytest.mark.parametrize("outcome", [Pause(SECRET), Cancel(SECRET)])
async def test_the_reason_of_a_step_is_told_and_sealed(outcome: Pause | Cancel) -> None:
    workflow = encrypted()

    @workflow.step(CREATED, to=DONE)
    async def ask(run: Run[Order, Status]) -> Status | Pause | Cancel:
        return outcome

    async with running(workflow) as app:
        run_id = await app.start()
        state = State.PAUSED if isinstance(outcome, Pause) else State.CANCELLED
        run = await app.until(run_id, state=state)

        assert run.reason == SECRET
        assert not tells(app.host, SECRET)


async def test_what_custom_delete_leaves_is_left() -> None:
    workflow = encrypted(custom_delete=lambda order: Order(n=order.n))

    @workflow.step(CREATED, to=DONE)
    async def pick(run: Run[Order, Status]) -> Status:
        return DONE

    async with running(workflow) as app:
        run_id = await app.start(order=Order(n=7, notes=[SECRET]))
        await app.until(run_id, status=DONE)

        await app.client.delete_data(run_id)

        gone = await app.until(run_id, state=State.DATA_DELETED)
        assert gone.object == Order(n=7)
        assert not tells(app.host, SECRET)
        assert SECRET.encode() not in await opened(app.host, "orders", run_id)


async def test_hooks_see_the_object_and_after_its_deletion_none() -> None:
    workflow, seen = encrypted(), []

    @workflow.step(CREATED, to=DONE)
    async def pick(run: Run[Order, Status]) -> Status:
        return DONE

    @workflow.on_complete
    async def completed(run: Run[Order, Status]) -> None:
        seen.append(run.object)

    @workflow.on_data_deleted
    async def deleted(run: Run[Order, Status]) -> None:
        seen.append(run.object)
        if len(seen) == 2:
            raise ValueError(SECRET)

    async with running(workflow) as app:
        run_id = await app.start(order=Order(notes=[SECRET]))
        await eventually(lambda: seen == [Order(notes=[SECRET])])
        await app.client.delete_data(run_id)
        await eventually(lambda: len(seen) == 2)
        app.step(hours=1)
        await eventually(lambda: len(seen) == 3)
        await app.idle()

        assert seen[1:] == [None, None]
        assert not tells(app.host, SECRET)


async def test_a_run_that_is_forgotten_has_no_key_left() -> None:
    workflow = encrypted(retention=timedelta(hours=1))

    @workflow.step(CREATED, to=DONE)
    async def pick(run: Run[Order, Status]) -> Status:
        return DONE

    async with running(workflow) as app:
        run_id = await app.start(order=Order(notes=[SECRET]))
        await app.until(run_id, status=DONE)
        app.step(hours=2)
        await eventually(lambda: app.types(run_id)[-1] == "forgotten")

        assert SECRET.encode() not in await opened(app.host, "orders", run_id)


async def test_a_result_that_comes_after_the_deletion_tells_nothing() -> None:
    workflow, at_work = encrypted(), Gated()

    @workflow.step(CREATED, to=DONE)
    async def slow(run: Run[Order, Status]) -> Status:
        await at_work.wait()
        run.object.notes.append(ANSWER)
        return DONE

    async with running(workflow) as app:
        run_id = await app.start(order=Order(notes=[SECRET]))
        await eventually(lambda: at_work.waiting)
        await app.client.cancel(run_id)
        await app.client.delete_data(run_id)
        await app.until(run_id, state=State.DATA_DELETED)

        at_work.open()
        await app.idle()

        assert (await app.get(run_id)).object is None
        assert not tells(app.host, SECRET, ANSWER)


class Gated:
    """Holds up a step until it is opened."""

    def __init__(self) -> None:
        self.waiting, self._open = False, False

    def open(self) -> None:
        self._open = True

    async def wait(self) -> None:
        self.waiting = True
        await eventually(lambda: self._open)
