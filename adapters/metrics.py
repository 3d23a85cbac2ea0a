"""Metrics of a host's shards for Prometheus, read when they are asked for.

The hot path counts in plain numbers (`streamwf/measures.py`), and knows nothing of labels. No label
is made of what outsiders can make up, so that nobody can make series without end.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streamwf.adapters import described as known
from streamwf.adapters.described import Described
from streamwf.definition import Workflow
from streamwf.dispatch import UNKNOWN
from streamwf.looking import Host
from streamwf.measures import BOUNDS, Histogram, Measures
from streamwf.record import INNER
from streamwf.roles import roles_of
from streamwf.shard import Shard
from streamwf.verdict import Verdict

Labels = tuple[str, ...]

#: By the values of the labels.
Samples = Mapping[Any, float]

#: Lanes of the engine's own runs: they wait for what is outside, for however long.
_INNER_LANES = frozenset(f"({kind})" for kind in INNER)

_PROCESS_STATES = ("active", "idle", "stopped")


def registry_of(host: Host, *more: Collector) -> CollectorRegistry:
    """A registry of the metrics of a host and of others, apart from the process's own."""
    registry = CollectorRegistry()
    for collector in (HostCollector(host), *more):
        registry.register(collector)
    return registry


class Held(NamedTuple):
    """A shard that is open, and the name of its workflow."""

    name: str
    shard: Shard


class HostCollector(Collector):
    """Reads what a host has counted, and the shards that it has at the time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        # When each log was last seen to be folded to its end, in seconds since 1970.
        self._caught_up: dict[Labels, float] = {}

    def describe(self) -> list[Metric]:
        """Nothing: what there is, depends on the time."""
        return []

    def collect(self) -> Iterator[Metric]:
        workflows = [workflow for _, workflow in sorted(self._host.workflows.items())]
        held = [
            Held(workflow.name, shard)
            for workflow in workflows
            for shard in self._host.shards(workflow.name)
        ]
        yield from self._counted(workflows)
        yield from self._lag(held)
        yield from self._at_work(workflows, held)
        yield from self._positions(held)
        yield self._shards(workflows, held)
        yield self._rebuilds(workflows)

    # ---- what was counted

    def _counted(self, workflows: list[Workflow[Any, Any]]) -> Iterator[Metric]:
        counted = {workflow.name: self._host.measures(workflow.name) for workflow in workflows}
        steps = {
            (workflow.name, status): step
            for workflow in workflows
            for status, step in workflow.steps.items()
        }
        for described, samples in (
            (known.EVENTS, _events),
            (known.SKIPPED, _skipped),
            (known.STATE_CHANGES, _state_changes),
            (known.ERRORS, _errors),
        ):
            found = {(n, *key): v for n, m in counted.items() for key, v in samples(m).items()}
            yield _metric(described, found)
        dead = {(name,): each.dead_letters for name, each in counted.items()}
        yield _metric(known.DEAD_LETTERS, dead)
        failed = {(name,): each.checkpoints_failed for name, each in counted.items()}
        yield _metric(known.CHECKPOINT_FAILURES, failed)
        late: Counter[Labels] = Counter(
            {key: 0 for key, step in steps.items() if step.lag_alert is not None}
        )
        late.update({(n, status): v for n, m in counted.items() for status, v in m.late.items()})
        yield _metric(known.LAG_ALERTS, late)
        yield _histograms(known.LATENCY, {(name,): each.latency for name, each in counted.items()})
        yield _histograms(
            known.CHECKPOINTS, {(name,): each.checkpoints for name, each in counted.items()}
        )
        yield _histograms(
            known.DURATION,
            {key: Histogram() for key in steps}
            | {
                (name, lane): took
                for name, each in counted.items()
                for lane, took in each.durations.items()
                if lane not in _INNER_LANES
            },
        )

    # ---- how far the log is folded

    def _lag(self, held: list[Held]) -> Iterator[Metric]:
        now = self._host.clock.now().timestamp()
        events: dict[Labels, float] = {}
        seconds: dict[Labels, float] = {}
        for name, shard in held:
            key, end = (name, str(shard.partition)), self._host.end(name, shard.partition)
            if end is None:
                continue
            events[key] = max(end - shard.position, 0)
            if not events[key]:
                self._caught_up[key] = now
            # What comes after the last event that was folded is no older than that one, nor than
            # the time at which there was nothing after it.
            since = max(shard.folded_to / 1000, self._caught_up.get(key, 0.0))
            seconds[key] = max(now - since, 0.0) if events[key] else 0.0
        yield _metric(known.LAG_EVENTS, events)
        yield _metric(known.LAG_SECONDS, seconds)

    def _positions(self, held: list[Held]) -> Iterator[Metric]:
        by_shard = {(name, str(shard.partition)): shard for name, shard in held}
        yield _metric(known.POSITION, {key: shard.position for key, shard in by_shard.items()})
        left = {key: max(shard.end - shard.position, 0) for key, shard in by_shard.items()}
        yield _metric(known.RECOVERY, left)
        behind = {key: shard.position - shard.checkpointed for key, shard in by_shard.items()}
        yield _metric(known.CHECKPOINT_LAG, behind)

    # ---- what there is to do

    def _at_work(self, workflows: list[Workflow[Any, Any]], held: list[Held]) -> Iterator[Metric]:
        names = [workflow.name for workflow in workflows]
        runs: Counter[Labels] = Counter()
        running: Counter[Labels] = Counter({(name,): 0 for name in names})
        overdue: Counter[Labels] = Counter({(name,): 0 for name in names})
        depth: Counter[Labels] = Counter()
        timers: Counter[Labels] = Counter()
        roles: Counter[Labels] = Counter()
        stopped: dict[Labels, float] = {}
        for workflow in workflows:
            name = workflow.name
            depth.update({(name, status): 0 for status in workflow.steps})
            timers.update({(name, status): 0 for status in workflow.timeouts})
            for status, step in workflow.steps.items():
                if step.breaker is not None:
                    stopped[name, status] = 0
        now = self._host.clock.now()
        for name, shard in held:
            workflow, dispatcher = shard.workflow, shard.dispatcher
            for (status, state), count in shard.counts().items():
                runs[name, _known(workflow, status), state] += count
            for status, waiting in dispatcher.depth().items():
                depth[name, status] += waiting
            waits = shard.timers()
            for status, count in waits.items():
                timers[name, _known(workflow, status)] += count
            for role in roles_of(shard, self._host.partitions):
                for state in _PROCESS_STATES:
                    roles[name, role.status, role.process, state] += state == role.health
            running[name,] += dispatcher.running
            if any(waits.values()):
                # To look at what is due reads the rows of all that is late, steps and all.
                overdue[name,] += shard.overdue(now)
            stopped |= {(name, status): 1 for status in dispatcher.held()}
        yield _metric(known.RUNS, runs)
        yield _metric(known.DEPTH, depth)
        yield _metric(known.RUNNING, running)
        yield _metric(known.HELD, stopped)
        yield _metric(known.TIMERS, timers)
        yield _metric(known.OVERDUE, overdue)
        yield _metric(known.ROLES, roles)

    def _shards(self, workflows: list[Workflow[Any, Any]], held: list[Held]) -> Metric:
        total: Counter[Labels] = Counter()
        for workflow in workflows:
            total[workflow.name, "active"] = 0
            total[workflow.name, "recovering"] = len(self._host.opening(workflow.name))
        for name, shard in held:
            total[name, "active" if shard.live else "recovering"] += 1
        return _metric(known.SHARDS, total)

    def _rebuilds(self, workflows: list[Workflow[Any, Any]]) -> Metric:
        left = {
            (workflow.name, str(shard)): records
            for workflow in workflows
            for shard, records in self._host.opening(workflow.name).items()
        }
        return _metric(known.REBUILD, left)


def _known(workflow: Workflow[Any, Any], status: str) -> str:
    """A status as it is called now. Whoever starts a run can ask for one that there is not."""
    current = workflow.current(status)
    return current if current in workflow.status_type.__members__ else UNKNOWN


def _events(counted: Measures) -> dict[Labels, int]:
    return {(kind, str(verdict)): count for (kind, verdict), count in counted.verdicts.items()}


def _skipped(counted: Measures) -> Mapping[Labels, int]:
    found: Counter[Labels] = Counter()
    for (_, verdict), count in counted.verdicts.items():
        if verdict is not Verdict.ACCEPTED:
            found[str(verdict),] += count
    found.update({(reason,): count for reason, count in counted.passed_over.items()})
    return found


def _state_changes(counted: Measures) -> dict[Labels, int]:
    return {(str(was or ""), str(state)): n for (was, state), n in counted.state_changes.items()}


def _errors(counted: Measures) -> Samples:
    return counted.errors


# ---- in the terms of the library


def _metric(described: Described, samples: Samples) -> Metric:
    kind = CounterMetricFamily if described.type == "counter" else GaugeMetricFamily
    family = kind(described.name, _help(described), labels=described.labels)
    for values, value in sorted(samples.items()):
        family.add_metric(values, value)
    return family


def _histograms(described: Described, samples: Mapping[Any, Histogram]) -> Metric:
    family = HistogramMetricFamily(described.name, _help(described), labels=described.labels)
    bounds = [*map(str, BOUNDS), "+Inf"]
    for values, histogram in sorted(samples.items()):
        buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
            *zip(bounds, accumulate(histogram.counts), strict=True)
        ]
        for bucket, (trace_id, seconds, at) in histogram.exemplars.items():
            exemplar = Exemplar({"trace_id": trace_id}, seconds, at.timestamp())
            buckets[bucket] = (*buckets[bucket][:2], exemplar)
        family.add_metric(values, buckets, histogram.total)
    return family


def _help(described: Described) -> str:
    """A sentence without marks."""
    text = described.meaning.replace("`", "")
    return f"{text[0].upper()}{text[1:]}."
