"""Sealing what runs carry, each under keys of its own: deletion destroys them, and reaches the log.

AES-256-GCM with a random nonce for each payload. What is sealed is bound to its run: in another
run's events it can't be opened. Sealed JSON is JSON, and sealed text is text, so that the fold and
the tables need not know. What other programs write in plain opens to itself.

Sealed are objects, what callbacks bring, the texts of errors, and the reasons that steps give. Not
sealed are foreign ids, statuses, the types of errors, and the reasons of requests: they are notes
of those who steer runs, and outlast what the runs carried.
"""

import base64
import binascii
import os
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec
from cachetools import TTLCache
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import UNSET

from .errors import KeyDestroyed, SealBroken
from .events import CALLBACK, CHILD, REJECTED, RESULTS, Event, unpack_ended, unpack_starts
from .objects import OWN_KEY, SEALED_JSON, SEALED_TEXT, has_own_key, is_sealed
from .ports import KeyProvider
from .record import NOTHING, Call, Child, Failure, Record

_JSON_END = b'"}'

#: How many runs a process remembers the keys of, and for how many seconds.
REMEMBERED_RUNS = 1_000
REMEMBERED_SECONDS = 60.0

#: Bytes of a nonce.
NONCE = 12

#: What the seals of one event take beyond what base64 adds.
SEALS = 1_024

#: Events with a reason that a step has given. Why a start was rejected tells nothing of its object.
_GIVE_REASONS = RESULTS - {REJECTED}

_replace = msgspec.structs.replace
_encode = msgspec.json.Encoder().encode


def room(limit: int) -> int:
    """How large an event may be in plain, so that it has no more than `limit` bytes sealed."""
    return (limit - SEALS) * 3 // 4


class Of(NamedTuple):
    """Whose keys are meant: those of a run, or of a callback that names none, by its own id."""

    foreign_id: str
    run_id: str


@dataclass(slots=True)
class _Ring:
    """The keys of a run that are in use here. current: the id of the one to seal with."""

    current: str | None = None
    ciphers: dict[str, AESGCM] = field(default_factory=dict)


class _Turn(Protocol):
    """Seals, or opens."""

    async def json(self, of: Of, data: msgspec.Raw) -> msgspec.Raw: ...

    async def text(self, of: Of, text: str) -> str: ...


class Vault:
    """Seals and opens what the runs of one workflow carry.

    A process remembers keys for a minute. A key that another process has destroyed may open
    something here for that long.
    """

    def __init__(self, workflow: str, keys: KeyProvider) -> None:
        self.workflow = workflow
        self._keys = keys
        self._rings: TTLCache[Of, _Ring] = TTLCache(REMEMBERED_RUNS, REMEMBERED_SECONDS)

    async def opened(self, record: Record) -> Record:
        """The record in plain, for those who work on it.

        Raises KeyDestroyed and SealBroken for its object. Of all else, what can't be opened is
        null, or an empty text.
        """
        return await _record(record, _Show(self), _Open(self))

    async def shown(self, record: Record) -> Record:
        """The record in plain; what can't be opened is null, or an empty text."""
        return await _record(record, _Show(self), _Show(self))

    async def shown_event(self, event: Event) -> Event:
        """An event in plain; what can't be opened is null, or an empty text."""
        return await _event(event, _of(event), _Show(self))

    async def taken_out(self, event: Event, of: Of) -> Event:
        """An event that is for another run than the one that it was sealed for, in plain; what
        can't be opened is null, or an empty text."""
        return await _event(event, of, _Show(self))

    async def sealed(self, event: Event) -> Event:
        """The event of a run, sealed. Raises KeyDestroyed."""
        own = event.type == CALLBACK and not event.runid
        return await _event(event, _of(event), _Seal(self, OWN_KEY if own else ""))

    async def destroy(self, of: Of) -> None:
        """Destroy its keys: nothing that was sealed under them can be opened after that."""
        await self._keys.destroy(self.workflow, *of)
        self._rings.pop(of, None)

    # ---- one payload

    async def seal(self, of: Of, plain: bytes) -> str:
        ring = self._ring(of)
        if ring.current is None:
            key = await self._keys.obtain(self.workflow, *of)
            ring.ciphers[key.id] = AESGCM(key.secret)
            ring.current = key.id
        nonce = os.urandom(NONCE)
        box = nonce + ring.ciphers[ring.current].encrypt(nonce, plain, self._bound_to(of))
        return f"{ring.current}.{base64.b64encode(box).decode()}"

    async def open(self, of: Of, token: str) -> bytes:
        key_id, _, text = token.removeprefix(OWN_KEY).partition(".")
        try:
            box = base64.b64decode(text, validate=True)
            cipher = await self._cipher(of, key_id)
            return cipher.decrypt(box[:NONCE], box[NONCE:], self._bound_to(of))
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise SealBroken(run_id=of.run_id) from error

    async def _cipher(self, of: Of, key_id: str) -> AESGCM:
        ring = self._ring(of)
        if key_id not in ring.ciphers:
            key = await self._keys.get(self.workflow, *of, key_id)
            if key is None:
                raise KeyDestroyed(run_id=of.run_id)
            ring.ciphers[key_id] = AESGCM(key.secret)
        return ring.ciphers[key_id]

    def _ring(self, of: Of) -> _Ring:
        ring = self._rings.get(of)
        if ring is None:
            ring = self._rings[of] = _Ring()
        return ring

    def _bound_to(self, of: Of) -> bytes:
        return _encode((self.workflow, *of))


class _Seal:
    def __init__(self, vault: Vault, mark: str) -> None:
        self._vault = vault
        self._mark = mark

    async def json(self, of: Of, data: msgspec.Raw) -> msgspec.Raw:
        if data == NOTHING:
            return data
        token = self._mark + await self._vault.seal(of, bytes(data))
        return msgspec.Raw(SEALED_JSON + token.encode() + _JSON_END)

    async def text(self, of: Of, text: str) -> str:
        return SEALED_TEXT + self._mark + await self._vault.seal(of, text.encode()) if text else ""


class _Open:
    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def json(self, of: Of, data: msgspec.Raw) -> msgspec.Raw:
        if not is_sealed(data):
            return data
        token = bytes(data)[len(SEALED_JSON) : -len(_JSON_END)]
        return msgspec.Raw(await self._vault.open(of, token.decode("utf-8", "replace")))

    async def text(self, of: Of, text: str) -> str:
        if not text.startswith(SEALED_TEXT):
            return text
        return (await self._vault.open(of, text.removeprefix(SEALED_TEXT))).decode()


class _Show(_Open):
    async def json(self, of: Of, data: msgspec.Raw) -> msgspec.Raw:
        try:
            return await super().json(of, data)
        except (KeyDestroyed, SealBroken):
            return NOTHING

    async def text(self, of: Of, text: str) -> str:
        try:
            return await super().text(of, text)
        except (KeyDestroyed, SealBroken):
            return ""


# ---- where payloads are


def _of(event: Event) -> Of:
    return Of(event.instead or event.subject, event.runid or event.id)


async def _event(event: Event, of: Of, turn: _Turn) -> Event:
    changed = {
        name: await turn.text(of, text)
        for name in ("data_base64", "errormessage", "errortrace", "reason")
        if (text := getattr(event, name)) and (name != "reason" or event.type in _GIVE_REASONS)
    }
    if event.starts:
        changed["starts"] = await _starts(event, of, turn)
    if event.data is UNSET:
        return _replace(event, **changed) if changed else event
    if event.type == CHILD:
        return _replace(event, data=await _ended(event, of, turn), **changed)
    return _replace(event, data=await turn.json(of, event.data), **changed)


async def _starts(event: Event, of: Of, turn: _Turn) -> str:
    starts = [
        _replace(start, data=await turn.json(of, start.data))
        for start in unpack_starts(event.starts)
    ]
    return _encode(starts).decode()


async def _ended(event: Event, of: Of, turn: _Turn) -> msgspec.Raw:
    """What a run tells its parent. The fold has to read it, all but the object and the reason."""
    ended = unpack_ended(event)
    told = _replace(
        ended,
        object=await turn.json(of, ended.object),
        reason=await turn.text(of, ended.reason),
    )
    return msgspec.Raw(_encode(told))


async def _record(record: Record, turn: _Turn, of_object: _Turn) -> Record:
    of = Of(record.foreign_id, record.run_id)
    return _replace(
        record,
        object=await of_object.json(of, record.object),
        reason=await turn.text(of, record.reason),
        error=await _error(record.error, of, turn),
        calls=tuple([await _call(call, record, turn) for call in record.calls]),
        children=tuple([await _child(child, of, turn) for child in record.children]),
    )


async def _error(error: Failure | None, of: Of, turn: _Turn) -> Failure | None:
    if error is None:
        return None
    return _replace(
        error,
        message=await turn.text(of, error.message),
        traceback=await turn.text(of, error.traceback),
    )


async def _call(call: Call, record: Record, turn: _Turn) -> Call:
    own = has_own_key(call.payload, call.bytes64)
    of = Of(record.foreign_id, call.id if own else record.run_id)
    return _replace(
        call, payload=await turn.json(of, call.payload), bytes64=await turn.text(of, call.bytes64)
    )


async def _child(child: Child, of: Of, turn: _Turn) -> Child:
    return _replace(
        child,
        object=await turn.json(of, child.object),
        reason=await turn.text(of, child.reason),
    )
