"""Workflows that encrypt, on the embedded host: plain input, keys that are gone or far away, other
workflows, and what has its limits."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamwf import Client, Pause, Retry, Run, Skip, Workflow
from streamwf.embedded import embedded
from streamwf.errors import (
    InvalidDefinition,
    KeyDestroyed,
    RecordTooLarge,
)
from streamwf.events import encode_event
from streamwf.ports import Key
from streamwf.record import State
from streamwf.tables.keys import MemoryKeys
from streamwf.testing import engine
from streamwf.views import Filter
from tests.embedded.app import App, Order, Status, orders, running
from tests.kafka.flows_encrypted import Person
from tests.kafka.flows_encrypted import Status as At
from tests.kafka.flows_encrypted import orders as secretive
from tests.secrecy import forms, tells
from tests.support import eventually, trigger

SECRET, ANSWER = "alice@example.org", "the colour is mauve"
MOMENT = timedelta(seconds=10)

CREATED, PICKED, PACKED, DONE = Status.CREATED, Status.PICKED, Status.PACKED, Status.DONE


async def _deleted(client: Client, run_id: str) -> bool:
    return (await client.history(run_id)).events[-1].type == "deleted"


# ---- what others write


def done_at_once(**options: Any) -> Workflow[Order, Status]:
    workflow = orders(**options)

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: Run[Order, Status]) -> Status:
        run.object.notes.append("picked")
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def pack(run: Run[Order, Status]) -> Status:
        return DONE

    return workflow


async def test_a_plain_trigger_runs_and_what_comes_of_it_is_sealed() -> None:
    async with running(done_at_once(encrypt=True)) as app:
        data = msgspec.json.encode({"notes": [SECRET]})
        app.append(encode_event(trigger(run_id="r", data=data)))
        await eventually(lambda: "moved" in app.types("r"))
        run = await app.until("r", status=DONE)

        assert run.object == Order(notes=[SECRET, "picked"])
        values = [record.value for record in app.log.records if record.value]
        assert [SECRET.encode() in value for value in values] == [True, False, False]


@pytest.mark.parametrize("sealed", [b"1.x.AAAA", b"1.~x.AAAA", b"1."])
async def test_a_trigger_that_only_looks_sealed_is_rejected(sealed: bytes) -> None:
    async with running(done_at_once(encrypt=True)) as app:
        app.append(encode_event(trigger(run_id="r", data=b'{"streamwf-sealed":"%b"}' % sealed)))

        await eventually(lambda: "rejected" in app.types("r"))

        [run] = (await app.client.find()).runs
        assert "no key to the data of run r" in run.reason


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vaults that remember no key, and ask for it again in a moment."""
    monkeypatch.setattr("streamwf.vault.REMEMBERED_SECONDS", 0.0)
    monkeypatch.setattr("streamwf.sealing.PAUSE", 0.001)


@pytest.mark.usefixtures("forgetful")
async def test_a_run_whose_keys_somebody_destroys_pauses_and_says_why() -> None:
    workflow = orders(encrypt=True)

    @workflow.step(CREATED, to=PICKED)
    async def wait(run: Run[Order, Status]) -> Skip | Status:
        return Skip()

    @workflow.step(PICKED, to=DONE)
    async def pick(run: Run[Order, Status]) -> Status:
        return DONE

    async with running(workflow, key_provider=(keys := MemoryKeys())) as app:
        run_id = await app.start(order=Order(notes=[SECRET]))
        await app.idle()
        await app.client.pause(run_id)
        await keys.destroy("orders", "o-1", run_id)

        await app.client.resume(run_id)

        page = await eventually(lambda: _paused(app))
        assert page.error.type == "KeyDestroyed"
        assert run_id in page.error.message


async def _paused(app: App) -> Any:
    [run] = (await app.client.find()).runs
    return run if run.state is State.PAUSED and run.error else None


# ---- keys and hosts


async def test_runs_go_on_with_their_keys_on_another_host() -> None:
    workflow = orders(encrypt=True)

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: Run[Order, Status]) -> Status:
        return PICKED

    @workflow.timeout(PICKED, after=timedelta(hours=1), to=DONE)
    async def late(run: Run[Order, Status]) -> Status:
        run.object.notes.append("late")
        return DONE

    async with engine(workflow) as first:
        run = await first.trigger(workflow, "o-1", Order(notes=[SECRET]))
        await first.await_status(run, PICKED)

    async with engine(workflow, former=first) as second:
        await second.advance(timedelta(hours=2))
        await second.expect_object(run, Order(notes=[SECRET, "late"]))
        assert not tells(second.host, SECRET)


@pytest.mark.usefixtures("forgetful")
async def test_a_provider_from_outside_that_fails_is_asked_again() -> None:
    keys = Failing()
    async with embedded(done_at_once(encrypt=True), key_provider=keys) as app:
        workflow = app.host.workflows["orders"]
        keys.failures = 0
        run_id = await app.client.trigger(workflow, "o-1", Order(notes=[SECRET]), wait=True)
        keys.failures = 5
        await eventually(lambda: not keys.failures)

        run = await app.client.await_(workflow, run_id, timeout=MOMENT)
        await app.client.delete_data(run_id)
        await eventually(lambda: _deleted(app.client, run_id))

        assert run.object.notes == [SECRET, "picked"]
        assert keys.destroyed == [("orders", "o-1", run_id)]


class Failing(MemoryKeys):
    """Fails so many times before each thing that it does."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.destroyed: list[tuple[str, str, str]] = []

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the key service is away")

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        self._fail()
        return await super().obtain(workflow, foreign_id, run_id)

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        self._fail()
        return await super().get(workflow, foreign_id, run_id, key_id)

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        self._fail()
        await super().destroy(workflow, foreign_id, run_id)
        self.destroyed.append((workflow, foreign_id, run_id))


async def test_encryption_that_is_turned_off_is_missed() -> None:
    encrypting = orders(encrypt=True)

    @encrypting.step(CREATED, to=DONE)
    async def wait(run: Run[Order, Status]) -> Pause:
        return Pause("")

    async with engine(encrypting) as first:
        run = await first.trigger(encrypting, "o-1", Order(notes=[SECRET]))
        await first.settle()

    async with engine(plain := done_at_once(), former=first) as second:
        client = second.client
        await client.resume(run.run_id)
        await second.settle()
        [found] = (await client.find()).runs
        assert found.state is State.PAUSED
        assert found.error is not None
        assert "encrypt=True" in found.error.message
        assert plain.name == "orders"


# ---- children of others


@pytest.mark.parametrize("sender", [True, False])
@pytest.mark.parametrize("receiver", [True, False])
async def test_what_goes_to_another_workflow_is_sealed_if_that_one_encrypts(
    sender: bool, receiver: bool
) -> None:
    parents = Workflow("parents", Order, Status, encrypt=sender, start=CREATED)
    children = Workflow("children", Order, Status, encrypt=receiver, start=CREATED)

    @parents.step(CREATED, to=PICKED)
    async def begin(run: Run[Order, Status]) -> Status:
        run.start(children, "c-1", Order(notes=[SECRET]))
        return PICKED

    @parents.step(PICKED, to=DONE, children="all")
    async def end(run: Run[Order, Status]) -> Status:
        run.object = Order.model_validate(run.children[0].object)
        return DONE

    @children.step(CREATED, to=DONE)
    async def work(run: Run[Order, Status]) -> Status:
        run.object.notes.append(ANSWER)
        return DONE

    async with embedded(parents, children) as app:
        run_id = await app.client.trigger(parents, "p-1", Order(), wait=True)
        run = await app.client.await_(parents, run_id, timeout=MOMENT)

        assert run.object == Order(notes=[SECRET, ANSWER])
        for name, encrypts in (("parents", sender), ("children", receiver)):
            values = b"".join(record.value or b"" for record in app.host.logs[name].records)
            assert any(form in values for form in forms(SECRET)) is not encrypts


# ---- what an encrypting workflow can and can't do


async def test_sealed_objects_can_be_searched_and_forked() -> None:
    async with embedded(secretive) as app:
        client = app.client
        for name, secret in (("o-1", SECRET), ("o-2", "bob")):
            await client.trigger(secretive, name, Person(secret=secret), at=At.ASIDE, wait=True)
        run = await client.run(secretive, "o-1").await_(timeout=MOMENT)

        found = await client.count(Filter(workflow="orders", search={"secret": [SECRET]}))
        forked = await client.fork(run.run_id, 1, foreign_id="o-3")
        again = await client.await_(secretive, forked, timeout=MOMENT)
        await client.delete_data(run.run_id)

        assert (found, again.object.secret) == (1, SECRET)
        assert not tells(app.host, SECRET)


async def test_a_large_object_has_room_sealed_or_is_refused() -> None:
    async with running(done_at_once(encrypt=True), max_record_bytes=20_000) as app:
        run_id = await app.start("o-1", Order(notes=["x" * 12_000]))
        assert (await app.until(run_id, status=DONE)).object.notes[1] == "picked"

        with pytest.raises(RecordTooLarge):
            await app.start("o-2", Order(notes=["x" * 16_000]))


async def test_a_result_that_is_too_large_sealed_is_an_error_of_its_step() -> None:
    workflow = orders(encrypt=True)

    @workflow.step(CREATED, to=DONE, pause_after=1, retry=Retry())
    async def grow(run: Run[Order, Status]) -> Status:
        run.object.notes.append("x" * 16_000)
        return DONE

    async with running(workflow, max_record_bytes=20_000) as app:
        run_id = await app.start()
        run = await app.until(run_id, state=State.PAUSED)

        assert run.error is not None
        assert run.error.type == "RecordTooLarge"


async def test_a_key_of_a_trigger_does_not_bring_deleted_data_back() -> None:
    async with running(done_at_once(encrypt=True)) as app:
        run_id = await app.start(order=Order(notes=[SECRET]), key="once")
        await app.until(run_id, status=DONE)
        await app.client.delete_data(run_id)
        await app.until(run_id, state=State.DATA_DELETED)

        with pytest.raises(KeyDestroyed):
            await app.start(order=Order(notes=[SECRET]), key="once")


def test_a_priority_can_not_look_into_sealed_objects() -> None:
    workflow = orders(encrypt=True)

    @workflow.step(CREATED, to=DONE, priority=lambda run: run.object.n)
    async def pick(run: Run[Order, Status]) -> Status:
        return DONE

    with pytest.raises(InvalidDefinition, match="can't look into sealed objects"):
        workflow.validate()


async def test_what_does_not_encrypt_has_no_vault() -> None:
    class Unused(MemoryKeys):
        async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
            raise AssertionError

    async with running(done_at_once(), key_provider=Unused()) as app:
        run_id = await app.start(order=Order(notes=[SECRET]))
        await app.until(run_id, status=DONE)
        await app.client.delete_data(run_id)
        await app.until(run_id, state=State.DATA_DELETED)

        assert app.host.vaults.of("orders") is None
        assert tells(app.host, SECRET)
