"""Runs as they were at each of their versions, and their histories as files."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from streamwf import Pause, Repeat, Retry, Run, Workflow
from streamwf.access import ANYBODY, Identity, Role, asked_by
from streamwf.embedded import embedded
from streamwf.errors import (
    HistoryIncomplete,
    RunNotFound,
    TransitionRefused,
    UnknownStatus,
    VersionUnknown,
)
from streamwf.record import MAX_OFFSETS, State
from streamwf.redaction import MASK
from streamwf.testing import replay
from streamwf.views import RunView
from tests.cards import SECRETS, payments
from tests.cards import Payment as Payment
from tests.cards import Status as Paid
from tests.embedded.app import CREATED, DONE, FAILED, PACKED, PICKED, App, Order, Status, orders
from tests.embedded.app import running as running
from tests.embedded.kit import append, started
from tests.kafka.flows_encrypted import Person
from tests.kafka.flows_encrypted import Status as At
from tests.kafka.flows_encrypted import orders as secretive

OrderRun = Run[Order, Status]
MOMENT = timedelta(seconds=10)


def eventful() -> Workflow[Order, Status]:
    """A workflow whose runs meet all that can change one."""
    workflow = orders()

    @workflow.step(CREATED, to=PICKED, retry=Retry(timedelta(minutes=1), jitter=0))
    async def pick(run: OrderRun) -> Status | Repeat:
        if run.attempt == 1:
            raise ValueError("not yet")
        run.object.notes.append("picked")
        return PICKED

    @workflow.callback(PICKED, to=PACKED, payload=int, name="weigh")
    async def weigh(run: OrderRun, grams: int) -> Status | Pause:
        run.object.n = grams
        return PACKED

    @workflow.timeout(PICKED, after=timedelta(hours=1), to=FAILED)
    async def late(run: OrderRun) -> Repeat:
        return Repeat(after=timedelta(hours=1))

    @workflow.step(PACKED, to=DONE)
    async def send(run: OrderRun) -> Status | Pause:
        if not run.object.notes[1:]:
            run.object.notes.append("looked at")
            return Pause("look at it")
        return DONE

    @workflow.on_pause
    async def paused(run: OrderRun) -> None: ...

    return workflow


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with running(eventful()) as app:
        yield app


async def at_each_version(app: App) -> dict[int, RunView]:
    """A run as it was told while it was so."""
    gateway, seen = app.client._gateway, dict[int, RunView]()

    async def look() -> None:
        await app.idle()
        run = await gateway.get(run_id)
        seen[run.version] = run

    run_id = await app.start()
    await look()
    app.step(minutes=1)
    await app.until(run_id, status=PICKED)
    await look()
    await app.client.pause(run_id, "lunch")
    await look()
    await app.client.resume(run_id)
    await look()
    app.step(hours=1)
    await app.idle()
    await look()
    await app.client.callback(app.workflow, "weigh", 250, run_id=run_id)
    await app.until(run_id, state=State.PAUSED)
    await look()
    await app.client.resume(run_id)
    await app.until(run_id, state=State.COMPLETED)
    await look()
    return seen


async def test_a_run_is_told_at_each_version_as_it_was_then(app: App) -> None:
    seen = await at_each_version(app)
    assert len(seen) >= 6
    [run_id] = {run.run_id for run in seen.values()}
    for version, told in seen.items():
        assert await app.client._gateway.get_version(run_id, version) == told
    last = await app.get(run_id)
    for version in range(1, last.version + 1):
        assert (await app.client.get(app.workflow, run_id, version=version)).version == version
    first = await app.client.get(app.workflow, run_id, version=1)
    assert (first.status, first.state, first.object) == (CREATED, State.INITIATED, Order())


async def test_what_is_no_version_of_a_run(app: App) -> None:
    run_id = await app.start()
    await app.until(run_id, attempt=1)
    for version in (0, -1, 99):
        with pytest.raises(VersionUnknown, match=r"its versions are 1 to 2\."):
            await app.client.get(app.workflow, run_id, version=version)
    with pytest.raises(RunNotFound):
        await app.client.get(app.workflow, "nobody", version=1)


async def test_of_a_run_with_very_many_events_the_first_are_not_known(app: App) -> None:
    run_id = await app.start()
    await app.until(run_id, attempt=1)
    for _ in range(MAX_OFFSETS // 2):
        await app.client.pause(run_id)
        await app.client.resume(run_id)
    last = await app.get(run_id)
    assert last.version > MAX_OFFSETS
    assert await app.client.get(app.workflow, run_id, version=last.version) == last
    with pytest.raises(HistoryIncomplete, match="its last 256 are known"):
        await app.client.get(app.workflow, run_id, version=last.version - 1)
    with pytest.raises(HistoryIncomplete):
        await app.client.export(run_id)


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_a_log_that_has_dropped_an_event_tells_no_version_after_it(
    app: App, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    run_id = await app.start()
    await app.until(run_id, attempt=1)
    for _ in range(2):
        await app.client.pause(run_id)
        await app.client.resume(run_id)
    offset = (await app.client.history(run_id)).events[lost].offset

    def dropping(read: Any) -> Any:
        async def left(workflow: str, partition: int, offsets: Any) -> Any:
            return await read(workflow, partition, tuple(o for o in offsets if o != offset))

        return left

    monkeypatch.setattr(app.host, "read", dropping(app.host.read))
    monkeypatch.setattr(app.host, "log", dropping(app.host.log))
    for version in range(lost + 1, 6):
        with pytest.raises(HistoryIncomplete):
            await app.client.get(app.workflow, run_id, version=version)
    with pytest.raises(HistoryIncomplete):
        await app.client.export(run_id)


async def test_what_is_deleted_is_not_told_of_any_version(app: App) -> None:
    run_id = await app.start()
    await app.client.cancel(run_id)
    await app.client.delete_data(run_id)
    await app.until(run_id, state=State.DATA_DELETED)
    with pytest.raises(TransitionRefused, match="Can't show version 1 of run"):
        await app.client.get(app.workflow, run_id, version=1)
    with pytest.raises(TransitionRefused, match="Can't export run"):
        await app.client.export(run_id)
    assert (await app.client.get(app.workflow, run_id, version=4)).state is State.DATA_DELETED


async def test_a_status_that_is_gone_is_no_status_any_more(app: App) -> None:
    run_id = await app.start()
    fewer = Workflow("orders", Order, Paid)
    with pytest.raises(UnknownStatus):
        await app.client.get(fewer, run_id, version=1)


# ---- as a file


async def test_a_history_has_each_event_as_it_lies_in_the_log(app: App) -> None:
    await at_each_version(app)
    [run] = (await app.client.find()).runs
    exported = await app.client.export(run.run_id)
    told = (await app.client.history(run.run_id)).events
    assert [each.offset for each in exported.events] == [event.offset for event in told]
    logged = [json.loads(app.log.records[event.offset].value or b"") for event in told]
    for each, event in zip(exported.events, logged, strict=True):
        # Who asked, and in which trace, is nobody's business.
        assert each.event == {k: v for k, v in event.items() if k not in ("by", "traceparent")}
    assert exported.hides == ""
    assert (exported.status, exported.state, exported.version) == (
        run.status,
        run.state,
        run.version,
    )
    assert exported.definition == app.workflow.definition


async def test_a_history_tells_nobody_who_has_asked(app: App) -> None:
    run_id = await app.start()
    with asked_by(Identity("ada", {"*": Role.ADMIN})):
        await app.client.pause(run_id, "lunch")
    exported = (await app.client.export(run_id)).model_dump_json()
    assert "lunch" in exported
    assert "ada" not in exported


@pytest.mark.parametrize("do", ["go", "fail", "pause", "child", "cancel"])
async def test_what_is_masked_is_in_no_history_whoever_asks(do: str) -> None:
    workflow = payments()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment(do=do))
        await app.advance(timedelta(minutes=1))
        if do == "go":
            payload = {"code": "code-xyz-1", "do": "fail"}
            await app.client.callback(workflow, "answer", payload, run_id=run.run_id)
        await app.advance(timedelta(hours=2))
        exported = await app.client.export(run.run_id)
        text = exported.model_dump_json()
        assert [secret for secret in SECRETS if secret in text] == []
        assert MASK in text
        assert exported.hides == "masked"


async def test_texts_that_tell_what_is_masked_are_in_no_history() -> None:
    workflow = payments()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment())
        await app.advance(timedelta(minutes=1))
        paused = await app.client.pause(run.run_id, f"{SECRETS[0]} is stolen")
        await app.client.resume(run.run_id)
        await app.settle()
        failed = {
            "specversion": "1.0",
            "id": "failed-1",
            "source": "/workflows/payments",
            "type": "failed",
            "subject": "o-1",
            "time": app.clock.now().isoformat(),
            "runid": run.run_id,
            "version": paused.version + 1,
            "errortype": "ValueError",
            "errormessage": f"no money on {SECRETS[0]}",
            "errortrace": f"File bank.py, line 1: charge({SECRETS[0]!r})",
        }
        append(app, workflow, **failed)
        await app.settle()
        text = (await app.client.export(run.run_id)).model_dump_json()
        assert [secret for secret in SECRETS if secret in text] == []
        for told in (f"{MASK} is stolen", f"no money on {MASK}", f"charge('{MASK}')"):
            assert told in text


async def test_a_former_version_shows_what_is_masked_to_those_who_may_see_it() -> None:
    workflow = payments()
    async with started(workflow) as app:
        run = await app.trigger(workflow, "o-1", Payment())
        await app.advance(timedelta(minutes=1))
        assert (await app.client.get(workflow, run.run_id, version=1)).object == Payment()
        with asked_by(ANYBODY):
            told = await app.client._gateway.get_version(run.run_id, 1)
        assert [secret for secret in SECRETS if secret in told.model_dump_json()] == []


async def test_what_is_encrypted_is_sealed_in_a_history_and_plain_in_a_version() -> None:
    secret = "alice@example.org"
    async with embedded(secretive) as app:
        run_id = await app.client.trigger(secretive, "o-1", Person(secret=secret), wait=True)
        await app.client.await_(secretive, run_id, At.ASKED, timeout=MOMENT)
        first: Any = await app.client.get(secretive, run_id, version=1)
        assert first.object == Person(secret=secret)
        exported = await app.client.export(run_id)
        assert secret not in exported.model_dump_json()
        assert exported.hides == "sealed"


# ---- on a database


@pytest.mark.parametrize("kind", ["sqlite_url", "postgres_url"])
async def test_runs_on_a_database_are_told_as_they_were(
    request: pytest.FixtureRequest, kind: str
) -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED)
    async def pick(run: OrderRun) -> Status:
        run.object.notes.append("picked")
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def send(run: OrderRun) -> Status:
        return DONE

    url: str = request.getfixturevalue(kind)
    for foreign_id in ("o-1", "o-2"):
        async with embedded(workflow, store=url) as app:
            run_id = await app.client.trigger(workflow, foreign_id, Order(n=1), wait=True)
            await app.client.await_(workflow, run_id, timeout=MOMENT)
    async with embedded(workflow, store=url) as app:
        for foreign_id in ("o-1", "o-2"):
            run = await app.client.run(workflow, foreign_id).get()
            told = [
                await app.client.get(workflow, run.run_id, version=version)
                for version in range(1, run.version + 1)
            ]
            assert told[-1] == run
            assert [then.status for then in told] == [CREATED, PICKED, DONE]
            assert [then.object.notes for then in told] == [[], ["picked"], ["picked"]]
            exported = await app.client.export(run.run_id)
    assert replay(workflow, exported).status is DONE
