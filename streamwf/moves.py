"""Moves of runs as they are told to whoever watches, and where in the logs they are. Pure."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from pydantic import Field

from .definition import Workflow
from .errors import InvalidQuery, WorkflowNotFound
from .events import MAX_FOREIGN_ID, MAX_ID, Event, check_foreign_id
from .ports import ShardId
from .record import Record, State
from .views import MAX_VALUE, MAX_VALUES, Request

#: Characters of a place in the logs. What is longer can't be a header.
MAX_PLACE = 7_000


class Move(msgspec.Struct, frozen=True):
    """An event that has changed a run, and what it has made of it; never what the run carries.

    version: after the event. previous: the status before it; empty if the run is new.
    type: of the event. at: when it was.
    """

    workflow: str
    foreign_id: str
    run_id: str
    version: int
    status: str
    state: State
    previous: str
    type: str
    at: datetime


class Gap(msgspec.Struct, frozen=True):
    """Moves in a part of a log that can't be told any more: look at the runs themselves.

    begin, end: the first offset of the part, and the one after it.
    """

    workflow: str
    shard: int
    begin: int
    end: int
    why: str


class Missing(msgspec.Struct, frozen=True):
    """The shards, by workflow, whose moves nobody tells at the moment. Once somebody does, all that
    has happened there meanwhile is told; and there are none any more."""

    shards: dict[str, list[int]]


class Dropped(msgspec.Struct, frozen=True):
    """The last that is told to who reads too slowly."""

    why: str


class Shards(msgspec.Struct, frozen=True):
    """The shards of which one worker tells, and from where on: told to other workers only."""

    shards: dict[str, dict[int, int]]


Tidings: TypeAlias = Move | Gap | Missing | Dropped | Shards


class Told(NamedTuple):
    """What is told, if it is more than how far all was told.

    place: from where to go on after it; None if that is where it was.
    """

    tidings: Tidings | None
    place: str | None


class Batch(NamedTuple):
    """What came of a part of a shard's log: of [begin, end), in order.

    moves: each with the position after it.
    """

    shard: ShardId
    begin: int
    end: int
    moves: Sequence[tuple[int, Move]]


_Texts = Annotated[list[Annotated[str, Field(max_length=MAX_VALUE)]], Field(max_length=MAX_VALUES)]


class Watched(Request):
    """Whose moves. Several values of one field are alternatives; all fields have to fit.

    status, state: that the run has after the move.
    """

    workflow: str | None = None
    status: _Texts = []
    state: Annotated[list[State], Field(max_length=MAX_VALUES)] = []
    foreign_id: str | None = None
    foreign_id_prefix: Annotated[str, Field(max_length=MAX_FOREIGN_ID)] | None = None
    run_id: Annotated[str, Field(max_length=MAX_ID)] | None = None

    def check(self, workflows: Sequence[str]) -> None:
        """Raises WorkflowNotFound and InvalidForeignId."""
        if self.workflow is not None and self.workflow not in workflows:
            raise WorkflowNotFound(workflow=self.workflow, known=", ".join(sorted(workflows)))
        if self.foreign_id is not None:
            check_foreign_id(self.foreign_id)

    def fits(self, move: Move) -> bool:
        return (
            self.workflow in (None, move.workflow)
            and self.foreign_id in (None, move.foreign_id)
            and self.run_id in (None, move.run_id)
            and move.foreign_id.startswith(self.foreign_id_prefix or "")
            and (not self.status or move.status in self.status)
            and (not self.state or move.state in self.state)
        )

    def parameters(self) -> dict[str, str | list[str]]:
        """What it says as the parameters of a URL."""
        return self.model_dump(mode="json", exclude_defaults=True)


def move_of(
    workflow: Workflow[Any, Any], before: Record | None, after: Record, event: Event
) -> Move:
    """What an event has made of a run. before: None if the run is new."""
    return Move(
        workflow=workflow.name,
        foreign_id=after.foreign_id,
        run_id=after.run_id,
        version=after.version,
        status=workflow.current(after.status),
        state=after.state,
        previous="" if before is None else workflow.current(before.status),
        type=event.type,
        at=event.time,
    )


#: What no offset reaches.
_BEYOND = 2**63

#: How far each shard's log was told: the offset of the next event.
Positions: TypeAlias = dict[ShardId, int]

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(dict[str, dict[int, int]]).decode


def place_of(positions: Mapping[ShardId, int]) -> str | None:
    """Positions as one word; None for more than a header can hold."""
    packed: dict[str, dict[int, int]] = {}
    for (workflow, number), position in positions.items():
        packed.setdefault(workflow, {})[number] = position
    word = base64.urlsafe_b64encode(_pack(packed)).decode().rstrip("=")
    return word if len(word) <= MAX_PLACE else None


class Places:
    """The places that differ in how far one shard's log was told: many of them, at little cost."""

    def __init__(self, positions: Mapping[ShardId, int], shard: ShardId) -> None:
        word = place_of(positions)
        self._before = None if word is None else f"{word}{_BUT}{sorted(positions).index(shard)}."

    def at(self, position: int) -> str | None:
        return None if self._before is None else f"{self._before}{position}"


#: After positions: one that is another, as its place among them all in order, and what it is.
_BUT = "~"


def read_place(word: str) -> Positions:
    """Raises InvalidQuery."""
    try:
        return _read(word)
    except (ValueError, IndexError, msgspec.MsgspecError, RecursionError):
        raise InvalidQuery(field="Last-Event-ID", why="no event has such an id") from None


def _read(word: str) -> Positions:
    word, _, but = word.partition(_BUT)
    padded = word.encode("ascii") + b"=" * (-len(word) % 4)
    packed = _unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
    found = {
        ShardId(workflow, number): position
        for workflow, numbers in packed.items()
        for number, position in numbers.items()
    }
    if but:
        index, position = map(int, but.split("."))
        found[sorted(found)[index]] = position
    if any(number < 0 or not 0 <= at < _BEYOND for (_, number), at in found.items()):
        raise ValueError("no log has such offsets")
    return found
