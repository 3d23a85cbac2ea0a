"""Metrics of a relay for Prometheus. docs/metrics.md lists them."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamwf.ports import Backlog
from streamwf.relay import Relay, age


class RelayCollector(Collector):
    """Tells what a relay has done, and what was left at its last look."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        known = dict.fromkeys(self._relay.relayed, Backlog())
        left = sorted((known | dict(self._relay.backlog)).items())
        relayed = CounterMetricFamily(
            "streamwf_outbox_relayed", "Rows that the log has taken.", labels=("workflow",)
        )
        for name, count in sorted(self._relay.relayed.items()):
            relayed.add_metric((name,), count)
        yield relayed
        yield _gauge(
            "streamwf_outbox_rows",
            "Rows of the outbox that wait.",
            {name: each.waiting for name, each in left},
        )
        yield _gauge(
            "streamwf_outbox_lag_seconds",
            "For how long the oldest row waits.",
            {name: age(each) for name, each in left},
        )
        yield _gauge(
            "streamwf_outbox_refused_rows",
            "Rows that can't be appended, for people to mend.",
            {name: each.refused for name, each in left},
        )


def _gauge(name: str, meaning: str, samples: dict[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=("workflow",))
    for workflow, value in samples.items():
        family.add_metric((workflow,), value)
    return family
