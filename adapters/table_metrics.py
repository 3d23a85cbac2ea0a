"""Metrics of the stores of a worker's tables for Prometheus. docs/metrics.md lists them."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class TableCollector(Collector):
    """Tells what memory the tables take. used: gives the bytes of each part."""

    def __init__(self, used: Callable[[], Mapping[str, int]]) -> None:
        self._used = used

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "streamwf_table_memory_bytes", "Memory that the tables take.", labels=("part",)
        )
        for part, used in self._used().items():
            family.add_metric((part,), used)
        yield family
