"""The vault: what is sealed opens to itself for its run and for nobody else."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf import events
from streamwf.errors import KeyDestroyed, SealBroken
from streamwf.events import Ended, Event, Start, encode_event, pack_starts, request, unpack_starts
from streamwf.objects import SEALED_JSON, is_sealed
from streamwf.ports import Key
from streamwf.record import MAILBOX, NOTHING, Call, Child, Failure, Record
from streamwf.tables.keys import MemoryKeys
from streamwf.vault import Of, Vault, room
from tests.support import NOW, WORKFLOW, examples, record, result, trigger

SECRET = "alice@example.org"
OBJECT = b'{"email":"alice@example.org"}'
OURS = Of("o-1", "run-1")


class OneKeyForAll:
    """A provider whose keys are all the same, so that only the binding to the run is left."""

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        return Key("the", bytes(32))

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        return Key("the", bytes(32)) if key_id == "the" else None

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        raise NotImplementedError


@pytest.fixture
def vault() -> Vault:
    return Vault(WORKFLOW, MemoryKeys())


def folded(event: Event, **fields: Any) -> Record:
    """The record that holds what an event carries, as the fold makes it."""
    return record(
        run_id=event.runid,
        object=event.data or NOTHING,
        reason=event.reason,
        error=event.failure,
        **fields,
    )


async def sealed_object(vault: Vault, data: bytes = OBJECT, run_id: str = "run-1") -> msgspec.Raw:
    event = await vault.sealed(trigger(run_id=run_id, data=data))
    assert isinstance(event.data, msgspec.Raw)
    return event.data


# ---- round trips


async def test_a_sealed_event_tells_nothing_and_opens_to_itself(vault: Vault) -> None:
    event = result(
        events.PAUSED,
        3,
        data=OBJECT,
        reason=f"{SECRET} does not answer",
        errortype="ValueError",
        errormessage=SECRET,
        errortrace=f'send("{SECRET}")',
    )
    sealed = await vault.sealed(event)

    assert SECRET.encode() not in encode_event(sealed)
    assert sealed.errortype == "ValueError"
    assert msgspec.json.decode(encode_event(sealed), type=Event) == sealed
    assert await vault.shown_event(sealed) == event
    assert await vault.opened(folded(sealed)) == folded(event)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@examples(100)
@given(st.binary(max_size=200), TEXT, TEXT, TEXT, JSON)
def test_whatever_is_sealed_opens_to_itself(
    payload: bytes, message: str, trace: str, reason: str, value: Any
) -> None:
    async def round_trip() -> None:
        vault = Vault(WORKFLOW, MemoryKeys())
        event = result(
            events.FAILED,
            3,
            data=msgspec.json.encode(value),
            data_base64=payload.hex(),
            reason=reason,
            errortype="E",
            errormessage=message,
            errortrace=trace,
        )
        sealed = await vault.sealed(event)
        read = msgspec.json.decode(encode_event(sealed), type=Event)
        assert await vault.shown_event(read) == event

    asyncio.run(round_trip())


async def test_an_object_that_looks_sealed_is_sealed_all_the_same(vault: Vault) -> None:
    looks = SEALED_JSON + b'x.AAAA"}'

    sealed = await sealed_object(vault, looks)

    assert (await vault.opened(record(object=sealed))).object == msgspec.Raw(looks)


async def test_no_two_seals_of_the_same_are_alike(vault: Vault) -> None:
    assert await sealed_object(vault) != await sealed_object(vault)


async def test_callbacks_that_wait_are_opened_with_the_run(vault: Vault) -> None:
    text = await vault.sealed(_callback(data=OBJECT))
    raw = await vault.sealed(_callback(data_base64="YWxpY2U="))
    assert isinstance(text.data, msgspec.Raw)
    calls = (
        Call("c-1", "", NOW, NOW, payload=text.data),
        Call("c-2", "", NOW, NOW, payload=NOTHING, bytes64=raw.data_base64),
    )

    opened = (await vault.opened(record(calls=calls))).calls

    assert opened[0].payload == msgspec.Raw(OBJECT)
    assert opened[1].bytes64 == "YWxpY2U="


async def test_a_callback_that_nobody_waits_for_yet_has_a_key_of_its_own(vault: Vault) -> None:
    sealed = [await vault.sealed(_callback(event_id=i, runid="", data=OBJECT)) for i in ("a", "b")]
    calls = tuple(Call(event.id, "", NOW, NOW, payload=event.data) for event in sealed)
    mailbox = record(kind=MAILBOX, run_id="mailbox", calls=calls)
    assert all(call.payload == msgspec.Raw(OBJECT) for call in (await vault.opened(mailbox)).calls)

    await vault.destroy(Of("o-1", "a"))

    shown = (await vault.shown(mailbox)).calls
    assert [call.payload for call in shown] == [NOTHING, msgspec.Raw(OBJECT)]


async def test_what_a_run_starts_and_hears_of_it_is_sealed_within(vault: Vault) -> None:
    start = Start(
        workflow="mail", foreign_id="m", run_id="r", status="NEW", data=msgspec.Raw(OBJECT)
    )
    moved = await vault.sealed(result(events.MOVED, 3, starts=pack_starts([start])))
    [told] = unpack_starts(moved.starts)
    assert (told.foreign_id, is_sealed(told.data)) == ("m", True)
    [opened] = unpack_starts((await vault.shown_event(moved)).starts)
    assert opened == start

    ended = Ended(
        workflow="mail",
        foreign_id="m",
        run_id="r",
        state="COMPLETED",
        reason=SECRET,
        object=msgspec.Raw(OBJECT),
    )
    event = await vault.sealed(_request(events.CHILD, data=msgspec.json.encode(ended)))
    heard = events.unpack_ended(event)
    assert SECRET.encode() not in encode_event(event)
    child = Child("mail", "m", "r", heard.state, "", heard.reason, heard.object)
    [opened_child] = (await vault.opened(record(children=(child,)))).children
    assert (opened_child.reason, opened_child.object) == (SECRET, msgspec.Raw(OBJECT))


# ---- what is not sealed


async def test_what_others_write_in_plain_opens_to_itself(vault: Vault) -> None:
    plain = record(
        object=msgspec.Raw(b' {"streamwf-sealed": "1.a.b"}'),
        reason="waits",
        error=Failure("E", "message", "trace"),
        calls=(Call("c", "", NOW, NOW, payload=msgspec.Raw(b"1")),),
    )

    assert await vault.opened(plain) == plain


async def test_why_a_start_was_rejected_is_told(vault: Vault) -> None:
    rejected = result(events.REJECTED, 1, reason="The object does not fit")

    assert (await vault.sealed(rejected)).reason == "The object does not fit"


async def test_the_notes_of_those_who_steer_are_told(vault: Vault) -> None:
    event = _request(events.CANCEL, reason="as asked by phone")

    assert await vault.sealed(event) is event


async def test_nothing_needs_no_key(vault: Vault) -> None:
    event = _request(events.PAUSE)

    assert await vault.sealed(event) is event
    await vault.destroy(OURS)
    assert (await vault.sealed(result(events.DELETED, 3, data=b"null"))).data == NOTHING


# ---- what is refused


async def test_a_payload_that_was_moved_to_another_run_is_refused(vault: Vault) -> None:
    moved = record(run_id="run-2", object=await sealed_object(vault))
    await sealed_object(vault, run_id="run-2")

    with pytest.raises(KeyDestroyed):
        await vault.opened(moved)
    assert (await vault.shown(moved)).object == NOTHING


@pytest.mark.parametrize("changed", [{"run_id": "run-2"}, {"foreign_id": "o-2"}])
async def test_it_is_refused_even_under_the_same_key(changed: dict[str, str]) -> None:
    vault = Vault(WORKFLOW, OneKeyForAll())
    moved = record(object=await sealed_object(vault), **changed)

    with pytest.raises(SealBroken):
        await vault.opened(moved)


async def test_it_is_refused_in_another_workflow() -> None:
    sealed = await sealed_object(Vault(WORKFLOW, OneKeyForAll()))

    with pytest.raises(SealBroken):
        await Vault("bills", OneKeyForAll()).opened(record(object=sealed))


@examples(100)
@given(st.data())
def test_no_change_of_a_sealed_payload_goes_unseen(data: st.DataObject) -> None:
    async def tamper() -> None:
        vault = Vault(WORKFLOW, OneKeyForAll())
        sealed = bytes(await sealed_object(vault))
        token = sealed[len(SEALED_JSON) : -2]
        changed = data.draw(
            st.integers(0, len(token) - 1).map(lambda at: token[:at] + b"~" + token[at + 1 :])
            | st.integers(0, len(token) - 1).map(lambda at: token[:at])
            | st.binary(max_size=80)
        )
        broken = record(object=msgspec.Raw(SEALED_JSON + changed + b'"}'))
        with pytest.raises((SealBroken, KeyDestroyed)):
            await vault.opened(broken)
        assert (await vault.shown(broken)).object == NOTHING

    asyncio.run(tamper())


async def test_a_callback_that_is_broken_does_not_hold_up_the_run(vault: Vault) -> None:
    broken = msgspec.Raw(SEALED_JSON + b'x.AAAA"}')
    calls = (Call("c-1", "", NOW, NOW, payload=broken),)

    opened = await vault.opened(record(object=await sealed_object(vault), calls=calls))

    assert (opened.object, opened.calls[0].payload) == (msgspec.Raw(OBJECT), NOTHING)


async def test_what_goes_to_another_run_is_taken_out_and_sealed_anew(vault: Vault) -> None:
    parents = await sealed_object(vault)
    start = trigger("o-2", "run-2", data=bytes(parents))

    plain = await vault.taken_out(start, OURS)
    sealed = await vault.sealed(plain)
    await vault.destroy(OURS)

    assert plain.data == msgspec.Raw(OBJECT)
    assert (await vault.shown_event(sealed)).data == msgspec.Raw(OBJECT)
    assert (await vault.taken_out(start, OURS)).data == NOTHING


async def test_a_flipped_bit_is_seen(vault: Vault) -> None:
    sealed = bytearray(bytes(await sealed_object(vault)))
    sealed[-10] = ord("A") if sealed[-10] != ord("A") else ord("B")

    with pytest.raises(SealBroken):
        await vault.opened(record(object=msgspec.Raw(bytes(sealed))))


async def test_nothing_opens_once_the_key_is_destroyed(vault: Vault) -> None:
    event = result(events.FAILED, 3, data=OBJECT, errortype="E", errormessage=SECRET)
    sealed = await vault.sealed(event)
    await vault.destroy(OURS)

    with pytest.raises(KeyDestroyed):
        await vault.opened(folded(sealed))
    with pytest.raises(KeyDestroyed):
        await vault.sealed(event)
    shown = await vault.shown_event(sealed)
    assert (shown.data, shown.errortype, shown.errormessage) == (NOTHING, "E", "")
    assert (await vault.shown(folded(sealed))).error == Failure("E", "")


async def test_another_run_is_not_touched_by_it(vault: Vault) -> None:
    other = record(run_id="run-2", object=await sealed_object(vault, run_id="run-2"))
    await vault.destroy(OURS)

    assert (await vault.opened(other)).object == msgspec.Raw(OBJECT)


# ---- keys


async def test_a_key_that_another_process_has_added_is_found() -> None:
    keys = MemoryKeys()
    sealed = await sealed_object(Vault(WORKFLOW, keys))

    opened = await Vault(WORKFLOW, keys).opened(record(object=sealed))

    assert opened.object == msgspec.Raw(OBJECT)


@pytest.mark.parametrize("limit", [10_000, 1_000_000])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
async def test_what_has_room_in_plain_has_room_sealed(
    vault: Vault, limit: int, share: float
) -> None:
    def event(size: int) -> Event:
        texts = int(size * (1 - share) / 3)
        return result(
            events.PAUSED,
            3,
            data=b'"' + b"x" * int(size * share) + b'"',
            reason="r" * texts,
            errortype="E",
            errormessage="m" * texts,
            errortrace="t" * texts,
        )

    size = room(limit) - len(encode_event(event(9)))
    assert len(encode_event(event(size))) <= room(limit)
    assert len(encode_event(await vault.sealed(event(size)))) <= limit


def _request(kind: str, event_id: str = "e-1", runid: str = "run-1", **fields: Any) -> Event:
    return request(WORKFLOW, kind, "o-1", NOW, event_id=event_id, runid=runid, **fields)


def _callback(event_id: str = "c-1", runid: str = "run-1", **fields: Any) -> Event:
    return _request(events.CALLBACK, event_id, runid, **fields)
