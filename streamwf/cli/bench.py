"""`streamwf bench`: a short load on the workers, as somebody outside feels it."""

import asyncio
import json
import math
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from streamwf.adapters.endpoints import Endpoint
from streamwf.adapters.http import HttpGateway
from streamwf.cli import completing, options
from streamwf.cli.output import Report, progress_bar, say, write, write_json, write_table
from streamwf.cli.shapes import Latencies, Measured
from streamwf.errors import StreamwfError
from streamwf.views import Trigger


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the workers. status: how far to wait for a run; None for its end.

    timeout: seconds that a run may take.
    """

    workflow: str
    object: object
    runs: int
    concurrency: int
    status: str | None
    timeout: float


@dataclass
class Taken:
    """What was measured. Times are in seconds, each from the moment that a run was asked for."""

    accepted: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    transitions: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@click.command()
@options.workflow
@click.option("--data", help="The object of each run, as JSON.")
@click.option("--runs", type=click.IntRange(1), default=200, show_default=True)
@click.option(
    "--concurrency",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Runs that are under way at once.",
)
@click.option(
    "--status",
    shell_complete=completing.statuses,
    help="Wait until they are at this status or past it; until their end if not given.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds that a run may take.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
@options.as_json(Measured)
@options.url
def bench(
    workflow: str,
    data: str | None,
    runs: int,
    concurrency: int,
    status: str | None,
    timeout: float,
    yes: bool,
    as_json: bool,
    at: Endpoint,
) -> None:
    """Start runs of WORKFLOW, wait for each, and tell how long that took.

    These are runs like any other: their steps do what they always do. One goes ahead that is not
    measured. Times are those of this process: a request over HTTP, and the answer to a long poll.
    A transition is a durable change of a run, as its version counts them.

    Exits with 1 if a run was refused, did not get there, or took too long.
    """
    try:
        value = None if data is None else json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--data") from None
    if not yes:
        _confirm(workflow, runs + 1)
    load = Load(workflow, value, runs, concurrency, status, timeout)
    with progress_bar(f"running {workflow}") as report:
        taken = asyncio.run(_measure(at, load, report))
    found = _measured(at, load, taken)
    write_json(found) if as_json else _tell(found)
    if found.failed:
        sys.exit(1)


def _confirm(workflow: str, count: int) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask at: say --yes if that is right.")
    click.confirm(f"Start {count:,} runs of {workflow}?", abort=True, err=True)


async def _measure(at: Endpoint, load: Load, report: Report) -> Taken:
    """Raises what the first run raises."""
    gateway = HttpGateway(at)
    mark = f"bench-{uuid.uuid4().hex[:8]}"
    taken, left = Taken(), iter(range(1, load.runs + 1))

    async def one_by_one() -> None:
        for number in left:
            try:
                await _one(gateway, load, f"{mark}-{number}", taken)
            except StreamwfError as error:
                taken.failed[type(error).__name__] += 1
            report(len(taken.ended) + taken.failed.total(), load.runs)

    try:
        await _one(gateway, load, f"{mark}-0", Taken())
        began = time.monotonic()
        await asyncio.gather(*(one_by_one() for _ in range(load.concurrency)))
        taken.seconds = time.monotonic() - began
    finally:
        await gateway.close()
    return taken


async def _one(gateway: HttpGateway, load: Load, foreign_id: str, taken: Taken) -> None:
    began = time.monotonic()
    trigger = Trigger(foreign_id=foreign_id, object=load.object)
    run_id = await gateway.trigger(load.workflow, trigger, wait=True)
    taken.accepted.append(time.monotonic() - began)
    run = await gateway.await_(run_id, load.status, load.timeout)
    taken.ended.append(time.monotonic() - began)
    taken.transitions += run.version


# ---- what is told


def _measured(at: Endpoint, load: Load, taken: Taken) -> Measured:
    return Measured(
        workflow=load.workflow,
        url=at.base,
        runs=load.runs,
        concurrency=load.concurrency,
        seconds=round(taken.seconds, 3),
        ended=len(taken.ended),
        transitions=taken.transitions,
        runs_per_second=round(len(taken.ended) / taken.seconds, 1),
        transitions_per_second=round(taken.transitions / taken.seconds, 1),
        accepted_ms=_latencies(taken.accepted),
        ended_ms=_latencies(taken.ended),
        failed=dict(taken.failed),
    )


def _latencies(seconds: Sequence[float]) -> Latencies | None:
    if not seconds:
        return None
    ordered = sorted(seconds)

    def of(share: float) -> float:
        """The time within which that share of them was done."""
        return round(1_000 * ordered[math.ceil(share * len(ordered)) - 1], 1)

    return Latencies(p50=of(0.5), p95=of(0.95), p99=of(0.99), max=of(1))


def _tell(found: Measured) -> None:
    write(
        f"{found.ended:,} runs in {found.seconds:.1f} s, {found.concurrency} at once:"
        f" {found.runs_per_second:,.0f} runs/s, {found.transitions_per_second:,.0f} transitions/s"
    )
    write_table(
        ("MILLISECONDS", "P50", "P95", "P99", "MAX"),
        [
            (name, *(f"{value:,.1f}" for value in latencies.model_dump().values()))
            for name, latencies in (("accepted", found.accepted_ms), ("there", found.ended_ms))
            if latencies is not None
        ],
    )
    for kind, count in found.failed.items():
        say(f"{count:,} failed: {kind}")
