"""How many workers, partitions and brokers a load needs: the arithmetic of docs/capacity.md.

`python -m benchmarks.capacity --rate 100000 [--steps N] [--object-bytes N] [--runs N] …`
"""

from math import ceil
from typing import NamedTuple

import click

#: What was measured, by name; docs/capacity.md says how.
CORE_RATE = 30_000
EVENT_BYTES = 300
ROW_BYTES = 284
ROWS = 0.58
RECOVERY_US = 15

#: What is chosen, by name; docs/capacity.md says why.
SHARE = 0.5
SHARDS = 4
REPLICAS = 3
BROKER_MB = 100

DAY = 86_400


class Load(NamedTuple):
    """rate: transitions a second. steps: of a run. object_bytes: of its object, as JSON.
    runs: in the tables. days: for which the log is kept."""

    rate: float
    steps: int = 3
    object_bytes: int = 500
    runs: int = 1_000_000
    days: float = 7


def sizes(load: Load) -> dict[str, tuple[float, str]]:
    """What a load needs, with its unit."""
    workers = max(ceil(load.rate / (CORE_RATE * SHARE)), 1)
    partitions = workers * SHARDS
    events = load.rate * (1 + 1 / load.steps)
    log = events * (EVENT_BYTES + load.object_bytes) / 1e6
    changelog = load.rate * ROWS * (ROW_BYTES + load.object_bytes) / 1e6
    brokers = max(ceil((log + changelog) * REPLICAS / BROKER_MB), REPLICAS)
    return {
        "workers, one core each": (workers, ""),
        "partitions": (partitions, ""),
        "events": (events, "/s"),
        "log": (log, "MB/s"),
        "changelog": (changelog, "MB/s"),
        "written by brokers": ((log + changelog) * REPLICAS, "MB/s"),
        "brokers": (brokers, ""),
        "disk of all brokers for the log": (log * DAY * load.days * REPLICAS / 1e6, "TB"),
        "rows of a shard": (load.runs / partitions, ""),
        "recovery of a shard, CPU": (load.runs / partitions * RECOVERY_US / 1e6, "s"),
    }


def told(load: Load) -> str:
    return "\n".join(
        f"{what}: {value:,.0f} {unit}".rstrip()
        if value >= 100 or value == int(value)
        else f"{what}: {value:,.2f} {unit}".rstrip()
        for what, (value, unit) in sizes(load).items()
    )


@click.command()
@click.option("--rate", type=click.FloatRange(min=1), required=True, help="Transitions a second.")
@click.option("--steps", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--object-bytes", type=click.IntRange(min=0), default=500, show_default=True)
@click.option("--runs", type=click.IntRange(min=0), default=1_000_000, show_default=True)
@click.option("--days", type=click.FloatRange(min=0), default=7, show_default=True)
def main(rate: float, steps: int, object_bytes: int, runs: int, days: float) -> None:
    """Say what a load needs."""
    print(told(Load(rate, steps, object_bytes, runs, days)))


if __name__ == "__main__":
    main()
