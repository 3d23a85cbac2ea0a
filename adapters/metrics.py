"""Metrics of a host's shards for Prometheus, read when they are asked for.

The hot path counts nothing for their sake. docs/metrics.md lists them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamwf.looking import Host
from streamwf.shard import Shard

Samples = Mapping[tuple[str, ...], float]


def registry_of(host: Host) -> CollectorRegistry:
    """A registry of the metrics of a host, apart from the process's own."""
    registry = CollectorRegistry()
    registry.register(HostCollector(host))
    return registry


class Held(NamedTuple):
    """A shard that is open, and the name of its workflow."""

    name: str
    shard: Shard


class HostCollector(Collector):
    """Reads the shards that a host has at the time."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._seen: set[Held] = set()
        self._gone: Counter[tuple[str, ...]] = Counter()
        self._gone_asides: Counter[tuple[str, ...]] = Counter()
        self._gone_late: Counter[tuple[str, ...]] = Counter()

    def collect(self) -> Iterator[Metric]:
        held = [Held(name, shard) for name in self._names for shard in self._host.shards(name)]
        self._keep_what_left(set(held))
        yield self._events(held)
        yield self._dead_letters(held)
        yield self._runs(held)
        yield self._queue_depth(held)
        yield self._steps_running(held)
        yield self._steps_held(held)
        yield self._lag_alerts(held)
        yield self._shards(held)
        yield from _positions(held)

    @property
    def _names(self) -> list[str]:
        return sorted(self._host.workflows)

    def _keep_what_left(self, held: set[Held]) -> None:
        """What a shard counted that is no longer here still counts: counters never fall."""
        for gone in self._seen - held:
            self._gone.update(_verdicts(gone))
            self._gone_asides[gone.name,] += gone.shard.set_aside
            self._gone_late.update(_late(gone))
        self._seen = held

    def _events(self, held: list[Held]) -> Metric:
        total = Counter(self._gone)
        for each in held:
            total.update(_verdicts(each))
        return _counter(
            "streamwf_events",
            "Events folded, by what became of them.",
            ("workflow", "type", "verdict"),
            total,
        )

    def _dead_letters(self, held: list[Held]) -> Metric:
        total: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in self._names})
        total.update(self._gone_asides)
        for name, shard in held:
            total[name,] += shard.set_aside
        return _counter(
            "streamwf_dead_letters",
            "Records put aside: nobody can read them, or their run can't start.",
            ("workflow",),
            total,
        )

    def _runs(self, held: list[Held]) -> Metric:
        total: Counter[tuple[str, ...]] = Counter()
        for name, shard in held:
            workflow = self._host.workflows[name]
            for (status, state), count in shard.counts().items():
                total[name, workflow.current(status), state] += count
        return _gauge(
            "streamwf_runs", "Runs in the tables.", ("workflow", "status", "state"), total
        )

    def _queue_depth(self, held: list[Held]) -> Metric:
        total: Counter[tuple[str, ...]] = Counter(
            {(name, status): 0 for name in self._names for status in self._steps(name)}
        )
        for name, shard in held:
            for status, depth in shard.dispatcher.depth().items():
                total[name, status] += depth
        return _gauge(
            "streamwf_queue_depth",
            "Steps that are due and wait for their turn.",
            ("workflow", "status"),
            total,
        )

    def _steps(self, name: str) -> list[str]:
        return list(self._host.workflows[name].steps)

    def _steps_running(self, held: list[Held]) -> Metric:
        total: Counter[tuple[str, ...]] = Counter({(name,): 0 for name in self._names})
        for name, shard in held:
            total[name,] += shard.dispatcher.running
        return _gauge("streamwf_steps_running", "Steps in progress.", ("workflow",), total)

    def _steps_held(self, held: list[Held]) -> Metric:
        names = [
            (name, status)
            for name in self._names
            for status, step in self._host.workflows[name].steps.items()
            if step.breaker is not None
        ]
        total: dict[tuple[str, ...], float] = dict.fromkeys(names, 0)
        for name, shard in held:
            total |= {(name, status): 1 for status in shard.dispatcher.held()}
        return _gauge(
            "streamwf_steps_held",
            "Whether a step is held by its breaker.",
            ("workflow", "status"),
            total,
        )

    def _lag_alerts(self, held: list[Held]) -> Metric:
        total: Counter[tuple[str, ...]] = Counter(
            {
                (name, status): 0
                for name in self._names
                for status, step in self._host.workflows[name].steps.items()
                if step.lag_alert is not None
            }
        )
        total.update(self._gone_late)
        for each in held:
            total.update(_late(each))
        return _counter(
            "streamwf_lag_alerts",
            "Steps that started later after they were due than they may.",
            ("workflow", "status"),
            total,
        )

    def _shards(self, held: list[Held]) -> Metric:
        roles = ("active", "recovering")
        total: Counter[tuple[str, ...]] = Counter(
            {(name, role): 0 for name in self._names for role in roles}
        )
        for name, shard in held:
            total[name, "active" if shard.live else "recovering"] += 1
        return _gauge("streamwf_shards", "Shards held.", ("workflow", "role"), total)


def _positions(held: list[Held]) -> Iterator[Metric]:
    labels = ("workflow", "shard")
    by_shard = {(name, str(shard.partition)): shard for name, shard in held}
    yield _gauge(
        "streamwf_position",
        "The offset of the next event to fold.",
        labels,
        {key: shard.position for key, shard in by_shard.items()},
    )
    yield _gauge(
        "streamwf_recovery_events",
        "Events left to fold until the shard is active.",
        labels,
        {key: max(shard.end - shard.position, 0) for key, shard in by_shard.items()},
    )
    yield _gauge(
        "streamwf_checkpoint_lag_events",
        "Events folded since the last checkpoint: those to fold again after a crash.",
        labels,
        {key: shard.position - shard.checkpointed for key, shard in by_shard.items()},
    )


def _verdicts(held: Held) -> dict[tuple[str, ...], int]:
    return {
        (held.name, kind, str(verdict)): count
        for (kind, verdict), count in held.shard.verdicts.items()
    }


def _late(held: Held) -> dict[tuple[str, ...], int]:
    return {(held.name, status): count for status, count in held.shard.dispatcher.late().items()}


def _counter(name: str, meaning: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for values, value in sorted(samples.items()):
        family.add_metric(values, value)
    return family


def _gauge(name: str, meaning: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, value in sorted(samples.items()):
        family.add_metric(values, value)
    return family
