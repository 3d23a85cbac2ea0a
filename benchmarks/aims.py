"""What has to be reached, as data: which figure of which benchmark has to be how large."""

from collections.abc import Mapping
from typing import NamedTuple


class Aim(NamedTuple):
    """benchmark: a key of BENCHMARKS. figure: a key of the object that its `--json` prints.
    bound: in the unit; at most, or at least. unit: behind the number."""

    benchmark: str
    figure: str
    what: str
    bound: float
    unit: str = ""
    at_least: bool = False

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    @property
    def told(self) -> str:
        return (
            f"{'at least' if self.at_least else 'at most'} {number(self.bound)} {self.unit}".strip()
        )


#: The module of each benchmark, and its arguments beside `--json`.
BENCHMARKS: Mapping[str, tuple[str, ...]] = {
    "throughput": ("benchmarks.throughput",),
    "peers": ("benchmarks.peers",),
    "half_load": ("benchmarks.half_load",),
    "hosts": ("benchmarks.hosts",),
    "two_workers": ("benchmarks.two_workers",),
    "scale": ("benchmarks.scale",),
    "timers": ("benchmarks.timers",),
    "recovery": ("benchmarks.recovery", "--rounds", "0", "--seconds", "0"),
    "bulk": ("benchmarks.bulk",),
    "start": ("benchmarks.start",),
}

AIMS = (
    Aim("throughput", "ratio", "transitions of one worker, against the raw loop", 0.7, "", True),
    Aim("throughput", "latency_p50_ms", "an idle run of three steps, p50", 5, "ms"),
    Aim("throughput", "latency_p99_ms", "an idle run of three steps, p99", 15, "ms"),
    Aim("peers", "streamwf_to_restate", "transitions, against Restate", 40, "times", True),
    Aim("peers", "streamwf_to_dbos", "transitions, against DBOS on PostgreSQL", 200, "times", True),
    Aim("half_load", "half_load_p99_ms", "a run at half the top load, p99", 100, "ms"),
    Aim("half_load", "half_load_share", "what was held meanwhile, of the top load", 0.48, "", True),
    Aim("hosts", "embedded_ratio", "embedded in memory, against the worker", 1.5, "", True),
    Aim("two_workers", "two_workers_ratio", "two workers, against one", 1.8, "", True),
    Aim("scale", "waiting_rss_mb", "memory with 1,000,000 waiting runs", 400, "MB"),
    Aim("scale", "waiting_bytes_per_run", "growth of memory for a waiting run", 50, "bytes"),
    Aim("scale", "waiting_pace_ratio", "pace with them, against empty tables", 0.85, "", True),
    Aim("timers", "timers_fired_s", "100,000 timers due at once, until all have fired", 15, "s"),
    Aim("timers", "timers_early", "of them too early", 0),
    Aim("timers", "timers_missing", "of them not fired at all", 0),
    Aim("timers", "timers_step_max_ms", "steps of other runs meanwhile, the longest", 200, "ms"),
    Aim("recovery", "changelog_s", "recovery of 1,000,000 runs from the changelog", 40, "s"),
    Aim("recovery", "rebuild_s", "rebuild from 4,000,000 events", 180, "s"),
    Aim("bulk", "bulk_ratio", "bulk trigger, against the raw producer", 0.6, "", True),
    Aim("start", "start_s", "start of a worker to ready, empty tables", 3, "s"),
)

#: The aims by their figures: no two benchmarks have one of the same name.
AIMED = {aim.figure: aim for aim in AIMS}


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.3g}"


def figure_of(figures: Mapping[str, Mapping[str, float]], aim: Aim) -> float | None:
    """What a suite has found of an aim; None if it was not measured."""
    return figures.get(aim.benchmark, {}).get(aim.figure)
