"""Looking at what could not be used, sending it again once it is mended, and dropping it."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

import pytest

from streamwf import State
from streamwf.access import ANYBODY, asked_by
from streamwf.embedded import EmbeddedHost, MemoryLog
from streamwf.errors import InvalidQuery, LetterNotFound, LetterNotSent, WorkflowNotFound
from streamwf.letter_views import LetterQuery, LetterView, Settled
from streamwf.operations import Operations
from streamwf.sources import Message, Start
from tests.cards import CARD, payments
from tests.embedded.app import App, Order, Orders, Status, orders, running
from tests.embedded.feeds import Feed, one_step
from tests.support import Lines, eventually

NOT_JSON = b"hello"


async def listed(app: App) -> list[LetterView]:
    return [letter async for letter in app.client.dead_letters(app.workflow)]


async def one_letter(app: App) -> LetterView:
    """The only letter, once it is there."""
    found = await eventually(lambda: listed(app))
    [letter] = found
    return letter


async def test_what_can_not_be_read_is_told_with_its_place_and_its_reason() -> None:
    async with running(one_step()) as app:
        app.append({"type": "trigger", "subject": "o-1", "data": {}})
        app.append(NOT_JSON, key=b"k")
        letter = await one_letter(app)
        assert (letter.workflow, letter.key, letter.text) == ("orders", "k", "hello")
        assert (letter.source, letter.partition, letter.position) == ("orders", "0", "1")
        assert letter.at == app.clock.now().replace(microsecond=678000)
        assert "it is not JSON" in letter.reason
        assert await app.client.dead_letter(letter.id) == letter


async def test_lists_have_the_beginning_and_one_letter_all_of_it() -> None:
    async with running(one_step()) as app:
        app.append(b"x" * 5_000)
        letter = await one_letter(app)
        assert (letter.text, letter.size) == ("x" * 300, 5_000)
        assert (await app.client.dead_letter(letter.id)).text == "x" * 5_000


async def test_bytes_are_told_as_base64() -> None:
    async with running(one_step()) as app:
        app.append(b"\xff\xfe")
        letter = await one_letter(app)
        assert letter.text is None
        assert base64.b64decode(letter.base64 or "") == b"\xff\xfe"


async def test_pages_begin_with_the_latest_and_lead_to_all() -> None:
    async with running(one_step()) as app:
        for n in range(7):
            app.append(f"poison {n}".encode())
            app.step(seconds=1)
        await eventually(lambda: len(app.log.dead_letters) == 7)
        operations, cursor, texts = Operations(app.host), None, []
        while True:
            page = await operations.letters(LetterQuery(limit=3, cursor=cursor))
            assert page.count == 7
            texts += [letter.text for letter in page.letters]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(texts) == [f"poison {n}" for n in range(7)]
        assert [letter.text for letter in await listed(app)] == texts


@pytest.mark.parametrize("cursor", ["", "x", "1~", "99999999999999999999~a", "-1~orders:0:0"])
async def test_a_cursor_of_something_else(cursor: str) -> None:
    async with running(one_step()) as app:
        with pytest.raises(InvalidQuery, match="cursor"):
            await Operations(app.host).letters(LetterQuery(cursor=cursor))


async def test_a_workflow_that_is_not_there() -> None:
    async with running(one_step()) as app:
        with pytest.raises(WorkflowNotFound):
            await Operations(app.host).letters(LetterQuery(workflow="nowhere"))


# ---- settling


async def refused(foreign_id: str) -> Mapping[str, MemoryLog]:
    """The logs of a host that has refused a trigger at PACKED, where no run can start by its
    definition."""
    former = orders()

    @former.step(Status.CREATED, to=Status.DONE)
    async def finish(run: Any) -> Status:
        return Status.DONE

    async with running(former) as app:
        app.append({"type": "trigger", "subject": foreign_id, "status": "PACKED", "data": {"n": 3}})
        await one_letter(app)
        return app.host.logs


def mended() -> Orders:
    """A definition by which runs can start at PACKED."""
    workflow = orders()

    @workflow.step(Status.CREATED, to=Status.PACKED)
    async def pick(run: Any) -> Status:
        return Status.PACKED

    @workflow.step(Status.PACKED, to=Status.DONE)
    async def pack(run: Any) -> Status:
        return Status.DONE

    return workflow


async def test_a_trigger_that_a_former_definition_refused_is_sent_again() -> None:
    workflow, logger = mended(), Lines()
    async with running(workflow, logs=await refused("o-1"), logger=logger) as app:
        letter = await one_letter(app)
        settled = await app.client.retry_dead_letter(letter.id, "PACKED has a step now")
        assert (settled.action, settled.appended) == ("retry", 1)
        await app.idle()
        [run] = [run async for run in app.client.list(workflow, state=State.COMPLETED)]
        assert (run.foreign_id, run.object) == ("o-1", Order(n=3))
        assert await listed(app) == []
        [said] = logger.of("dead_letter_settled")
        assert said["reason"] == "PACKED has a step now"


async def test_what_several_send_again_at_once_counts_once() -> None:
    workflow = mended()
    async with running(workflow, logs=await refused("o-1")) as app:
        letter = await one_letter(app)
        several = [Operations(app.host).settle_letter(letter.id, "retry") for _ in range(3)]
        done = await asyncio.gather(*several, return_exceptions=True)
        assert sum(isinstance(each, Settled) for each in done) >= 1
        await app.idle()
        runs = [run async for run in app.client.list(workflow, state=State.COMPLETED)]
        assert len(runs) == 1
        assert await listed(app) == []


async def test_what_still_can_not_be_read_is_refused_and_stays() -> None:
    async with running(one_step()) as app:
        app.append(NOT_JSON)
        letter = await one_letter(app)
        with pytest.raises(LetterNotSent, match="it is not JSON"):
            await app.client.retry_dead_letter(letter.id)
        assert await one_letter(app) == letter


async def test_what_is_dropped_is_listed_no_more_and_stays_there() -> None:
    async with running(one_step()) as app:
        app.append(NOT_JSON)
        app.append(b"world")
        await eventually(lambda: len(app.log.dead_letters) == 2)
        first, second = sorted(await listed(app), key=lambda letter: letter.text or "")
        await app.client.drop_dead_letter(first.id, "spam")
        assert await listed(app) == [second]
        assert (await app.client.dead_letter(first.id)).text == "hello"
        with pytest.raises(LetterNotFound, match="settled"):
            await app.client.drop_dead_letter(first.id)
        logs = app.host.logs
    async with running(one_step(), logs=logs) as app:
        assert await listed(app) == [second]


@pytest.mark.parametrize("id", ["", "x", "orders:0:7", "nowhere:0:0", "orders:1:0", "orders:0:-1"])
async def test_a_letter_that_is_not_there(id: str) -> None:
    async with running(one_step()) as app:
        with pytest.raises(LetterNotFound):
            await app.client.dead_letter(id)


async def test_the_note_that_settles_a_letter_is_none_itself() -> None:
    async with running(one_step()) as app:
        app.append(NOT_JSON)
        letter = await one_letter(app)
        await app.client.drop_dead_letter(letter.id)
        with pytest.raises(LetterNotFound):
            await app.client.dead_letter("orders:0:1")


# ---- messages of connectors


async def test_a_message_goes_through_the_function_of_its_connector_again() -> None:
    feed, mended = Feed(), False
    workflow = one_step()

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> Start[Order, Status]:
        if not mended:
            raise ValueError("not yet")
        return Start(message.json()["id"], Order(n=7))

    async with running(workflow) as app:
        await feed.put({"id": "o-1"})
        letter = await one_letter(app)
        with pytest.raises(LetterNotSent, match="not yet"):
            await app.client.retry_dead_letter(letter.id)
        mended = True
        await app.client.retry_dead_letter(letter.id)
        run = await eventually(lambda: app.client.latest(workflow, "o-1"))
        assert run.object.n == 7
        assert await listed(app) == []


async def test_what_was_cut_off_is_not_taken_for_all_of_it() -> None:
    feed = Feed()
    workflow = one_step()

    @workflow.connector(feed, name="feed")
    async def start(message: Message) -> Start[Order, Status]:
        return Start("o-1", Order())

    async with running(workflow) as app:
        await feed.put(b"x" * 1_000_001)
        letter = await one_letter(app)
        with pytest.raises(LetterNotSent, match="only the beginning"):
            await app.client.retry_dead_letter(letter.id)


# ---- who may see what


async def test_who_may_not_see_masked_fields_sees_no_content() -> None:
    host = EmbeddedHost(payments())
    await host.start()
    try:
        host.logs["payments"].append(CARD.encode(), f"card {CARD}".encode(), 0)
        await eventually(lambda: host.logs["payments"].dead_letters)
        operations = Operations(host)
        with asked_by(ANYBODY):
            [letter] = (await operations.letters(LetterQuery())).letters
            shown = await operations.letter(letter.id)
        for told in (letter, shown):
            assert told.withheld
            assert CARD not in told.model_dump_json()
        [letter] = (await operations.letters(LetterQuery())).letters
        assert letter.text == f"card {CARD}"
    finally:
        await host.stop()
