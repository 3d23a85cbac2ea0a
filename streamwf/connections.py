"""The inner runs of connectors: what they are called, and what their objects say. Pure.

A connector has one of its own name, which looks for partitions, and one for each partition.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from .definition import Workflow
from .events import TRIGGER, Event, derived_id, request
from .record import CONNECTOR, Record, row_key

#: Between the name of a connector and that of a partition.
_BETWEEN = "/"


class Partitions(msgspec.Struct, frozen=True, omit_defaults=True):
    """The object of a connector's own inner run. known: the partitions that it has started."""

    source: str
    known: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, omit_defaults=True):
    """The object of the inner run of a partition.

    position: of the last message that was used; None before the first.
    begun: whether it is settled where to begin.
    messages: how many were used. set_aside: how many of them went to the dead letters.
    tried: how often the message after the position has failed.
    """

    source: str
    partition: str
    position: str | None = None
    begun: bool = False
    messages: int = 0
    set_aside: int = 0
    tried: int = 0


encode = msgspec.json.Encoder().encode
_decode_partitions = msgspec.json.Decoder(Partitions).decode
_decode_place = msgspec.json.Decoder(Place).decode


def partitions_of(record: Record) -> Partitions:
    """Raises msgspec.DecodeError."""
    return _decode_partitions(record.object)


def place_of(record: Record) -> Place:
    """Raises msgspec.DecodeError."""
    return _decode_place(record.object)


def subject_of(connector: str, partition: str) -> str:
    """What the inner run of a partition is called."""
    return f"{connector}{_BETWEEN}{partition}"


def connector_of(subject: str) -> str:
    """The connector of an inner run."""
    return subject.partition(_BETWEEN)[0]


def is_own(subject: str) -> bool:
    """Whether it is the inner run of a connector itself, and not of a partition."""
    return _BETWEEN not in subject


def unmade(
    workflow: Workflow[Any, Any],
    get: Callable[[str], Record | None],
    misplaced: Callable[[str], bool],
    now: datetime,
) -> Iterator[Event]:
    """The triggers of the connectors of a shard that have no inner run yet.

    get: gives the row of a key. misplaced: whether a connector of that name is another shard's.
    """
    for name, connector in workflow.connectors.items():
        if not misplaced(name) and get(row_key(CONNECTOR, name)) is None:
            yield trigger_of(workflow.name, name, Partitions(connector.source.name), now)


def trigger_of(workflow: str, connector: str, data: Partitions | Place, now: datetime) -> Event:
    """The trigger of an inner run; of the same one each time. Raises InvalidForeignId."""
    partition = data.partition if isinstance(data, Place) else None
    identity = (connector,) if partition is None else (connector, partition)
    run_id = derived_id(workflow, CONNECTOR, *identity)
    return request(
        workflow,
        TRIGGER,
        connector if partition is None else subject_of(connector, partition),
        now,
        event_id=derived_id(TRIGGER, run_id),
        inner=CONNECTOR,
        runid=run_id,
        data=encode(data),
    )
