"""How the workflows of all workers are, now and over the last minutes: for a page's first view."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple, Self

from pydantic import Field

from .access import is_seen
from .graph import counts
from .looking import Host
from .measures import BUCKET_SECONDS, KEPT_SECONDS
from .roles import roles_of
from .settings import Duration
from .views import HeldView, Request, RoleHealth, Share, View

_LEAST, _MOST = timedelta(seconds=BUCKET_SECONDS), timedelta(seconds=KEPT_SECONDS)


class Window(Request):
    """window: how far to look back, like 90s or 10m; at most an hour."""

    window: Annotated[Duration, Field(ge=_LEAST, le=_MOST)] = timedelta(minutes=10)


class BucketView(View):
    """What has happened in a short time. at: when it begins.

    transitions: events that have changed a run. failures: of steps, timeouts, callbacks and hooks.
    started, ended: runs.
    """

    at: datetime
    transitions: int = 0
    failures: int = 0
    started: int = 0
    ended: int = 0


class WorkflowOverview(View):
    """A workflow.

    counts: how many runs there are, by status and state. held: steps that are held for all runs.
    shards: how many there are in all. live: how many of them a worker has, and has recovered.
    lag: events of the log that are not folded yet. buckets: the oldest first; the last goes on.
    """

    name: str
    counts: dict[str, dict[str, int]]
    held: dict[str, HeldView]
    shards: int
    live: int
    lag: int
    buckets: list[BucketView]


class WorkerOverview(View):
    """A worker. worker: where it is; empty for the one that was asked.

    shards: how many it has, by workflow. roles: how many of its roles are in which health.
    """

    worker: str = ""
    shards: dict[str, int]
    roles: dict[RoleHealth, int]


class Overview(Share):
    """All workflows, by their names, and all workers. bucket: how long one is, in seconds."""

    at: datetime
    bucket: int = BUCKET_SECONDS
    workflows: list[WorkflowOverview]
    workers: list[WorkerOverview]

    def told_by(self, worker: str) -> Self:
        there = [each.model_copy(update={"worker": worker}) for each in self.workers]
        return self.model_copy(update={"workers": there})


def overview_of(host: Host, window: timedelta) -> Overview:
    """What this process knows, for whoever asks."""
    now = host.clock.now()
    names = sorted(name for name in host.workflows if is_seen(name))
    roles: Counter[RoleHealth] = Counter()
    for name in names:
        for shard in host.shards(name):
            roles.update(role.health for role in roles_of(shard, host.partitions))
    shards = {name: len([*host.shards(name)]) for name in names}
    return Overview(
        at=now,
        workflows=[_workflow(host, name, window, now) for name in names],
        workers=[WorkerOverview(shards=shards, roles=dict(roles))],
    )


class Standing(NamedTuple):
    """How many runs are where, by status and state; and the steps that are held for all runs."""

    counts: dict[str, dict[str, int]]
    held: dict[str, HeldView]


def standing_of(host: Host, name: str) -> Standing:
    """How a workflow stands in the shards that are here."""
    workflow = host.workflows[name]
    total: Counter[tuple[str, str]] = Counter()
    held: dict[str, HeldView] = {}
    for shard in host.shards(name):
        for (status, state), count in shard.counts().items():
            total[workflow.current(status), state] += count
        held |= {
            status: HeldView(**told._asdict()) for status, told in shard.dispatcher.held().items()
        }
    return Standing(counts(total), held)


def _workflow(host: Host, name: str, window: timedelta, now: datetime) -> WorkflowOverview:
    standing = standing_of(host, name)
    lag = live = 0
    for shard in host.shards(name):
        end = host.end(name, shard.partition)
        lag += max((shard.end if end is None else end) - shard.position, 0)
        live += shard.live
    known = {bucket.at: bucket for bucket in host.measures(name).recent.buckets}
    begins = _begins(now, window)
    return WorkflowOverview(
        name=name,
        counts=standing.counts,
        held=standing.held,
        shards=host.partitions,
        live=live,
        lag=lag,
        buckets=[
            BucketView(at=_instant(at), **(known[at].counted() if at in known else {}))
            for at in begins
        ],
    )


def _begins(now: datetime, window: timedelta) -> range:
    """When the buckets of a window begin, the present one as the last, in seconds since 1970."""
    last = int(now.timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
    return range(last - int(window.total_seconds()), last + 1, BUCKET_SECONDS)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def merged(views: Sequence[Overview], missing: Sequence[str]) -> Overview:
    """What all workers know. When is as the first one says."""
    first = views[0]
    return first.model_copy(
        update={
            "workflows": [
                _summed([w for view in views for w in view.workflows if w.name == own.name])
                for own in first.workflows
            ],
            "workers": [worker for view in views for worker in view.workers],
            "missing": [*missing],
        }
    )


def _summed(views: Sequence[WorkflowOverview]) -> WorkflowOverview:
    total: Counter[tuple[str, str]] = Counter()
    held: dict[str, HeldView] = {}
    buckets: dict[datetime, Counter[str]] = {}
    for view in views:
        for status, states in view.counts.items():
            total.update({(status, state): count for state, count in states.items()})
        for status, told in view.held.items():
            if status not in held or told.until > held[status].until:
                held[status] = told
        for bucket in view.buckets:
            more = bucket.model_dump(exclude={"at"})
            buckets.setdefault(bucket.at, Counter()).update(more)
    return views[0].model_copy(
        update={
            "counts": counts(total),
            "held": held,
            "live": sum(view.live for view in views),
            "lag": sum(view.lag for view in views),
            "buckets": [
                BucketView(at=bucket.at, **buckets[bucket.at]) for bucket in views[0].buckets
            ],
        }
    )
