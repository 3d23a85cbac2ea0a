"""What is told about connectors: over HTTP, by the client, on the command line."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

from .record import State
from .views import ErrorView, Share, View

#: What can be done to a connector from outside.
ConnectorAction = Literal["pause", "resume"]


class ConnectorRun(View):
    """An inner run of a connector. It has a history like any run.

    attempt, error: how often in a row it has failed, and how. due_at: when it is tried again then.
    """

    run_id: str
    state: State
    updated_at: datetime
    due_at: datetime | None = None
    attempt: int = 0
    error: ErrorView | None = None
    reason: str = ""


class PartitionView(ConnectorRun):
    """A partition that a connector reads.

    position: of the last message that was used. messages: how many were used.
    set_aside: how many of them went to the dead letters.
    behind: how many messages come after the position; None if the source can't tell.
    """

    partition: str
    position: str | None = None
    messages: int = 0
    set_aside: int = 0
    behind: int | None = None


class ConnectorView(Share):
    """A connector as it is.

    declared: whether the code of the workflow declares it.
    looking: the inner run that looks for new partitions.
    """

    workflow: str
    name: str
    source: str = ""
    declared: bool = True
    looking: ConnectorRun | None = None
    partitions: list[PartitionView] = []

    @property
    def state(self) -> str:
        """In one word: running, paused, failing, or starting if there is nothing to read yet."""
        runs = [*([self.looking] if self.looking else []), *self.partitions]
        if any(run.error is not None and run.state is not State.PAUSED for run in runs):
            return "failing"
        if any(run.state is State.PAUSED for run in runs):
            return "paused"
        return "running" if self.partitions else "starting"


class Connectors(Share):
    """The connectors of a workflow, in the order of their names."""

    connectors: list[ConnectorView]


def joined(views: Iterable[ConnectorView], missing: Sequence[str] = ()) -> list[ConnectorView]:
    """What several workers tell of the same connectors, as one; in the order of their names."""
    known: dict[str, ConnectorView] = {}
    for view in views:
        former = known.get(view.name)
        known[view.name] = view if former is None else _joined(former, view)
    return [known[name].model_copy(update={"missing": [*missing]}) for name in sorted(known)]


def _joined(one: ConnectorView, other: ConnectorView) -> ConnectorView:
    partitions: dict[str, PartitionView] = {}
    for partition in (*one.partitions, *other.partitions):
        # One whose shard is moving may be seen on both sides.
        seen = partitions.get(partition.partition)
        if seen is None or partition.updated_at > seen.updated_at:
            partitions[partition.partition] = partition
    return one.model_copy(
        update={
            "source": one.source or other.source,
            "declared": one.declared or other.declared,
            "looking": one.looking or other.looking,
            "partitions": sorted(partitions.values(), key=by_number),
        }
    )


def by_number(view: PartitionView) -> tuple[int, str]:
    """Numbers in their order, before names in theirs."""
    name = view.partition
    return (int(name), "") if name.isdecimal() else (1 << 62, name)
