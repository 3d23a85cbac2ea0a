"""How long a page of a list takes, and what a worker needs, with very many runs in its tables.

`python -m benchmarks.queries [--runs N] [--json]` writes the tables of the shards of one worker
directly, without a log, and asks its operations what the web views ask them. Every run is written
as it starts, and again as it is left: so the tables have been moved through like those of a worker.
"""

import asyncio
import gc
import json
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from rich.console import Console
from rich.table import Table

from streamwf import Run, State, Workflow
from streamwf.execute import SystemClock
from streamwf.looking import Host, Looking
from streamwf.ports import Change
from streamwf.record import Record, encode_record
from streamwf.searched import terms_of
from streamwf.shard import Limits, Shard
from streamwf.stored_log import OnePartition
from streamwf.tables.runs import AsOf, Memory, RunsTable
from streamwf.vaults import Vaults
from streamwf.views import Filter, Page, Query

SHARDS = 4
LAYOUT = OnePartition(SHARDS)
BEGIN = datetime(2030, 1, 1, tzinfo=UTC)

#: Runs that one checkpoint writes, and how many are asked for with each query.
PILE = 5_000
TIMES = 20

#: Seconds after which a query is not asked again.
PATIENCE = 2.0


class Status(Enum):
    CREATED = 1
    PICKED = 2
    PACKED = 3
    SHIPPED = 4


orders: Workflow[dict[str, Any], Status] = Workflow(
    "orders", dict, Status, search=("customer", "item")
)


@orders.step(Status.CREATED, to=Status.PICKED)
async def pick(run: Run[dict[str, Any], Status]) -> Status:
    return Status.PICKED


@orders.step(Status.PICKED, to=Status.PACKED)
async def pack(run: Run[dict[str, Any], Status]) -> Status:
    return Status.PACKED


@orders.step(Status.PACKED, to=Status.SHIPPED)
async def ship(run: Run[dict[str, Any], Status]) -> Status:
    return Status.SHIPPED


def begun(number: int) -> Record:
    at = BEGIN + number * timedelta(seconds=1)
    carried = {
        "customer": f"customer-{number * 7919 % 10_007:06}",
        "street": "12 Long Street, 8001 Cape Town, South Africa",
        "item": ("book", "lamp", "chair", "table", "bell")[number % 5],
        "note": "please leave it with the neighbours if nobody is at home",
    }
    return Record(
        foreign_id=f"order-{number:08}",
        run_id=f"{number * 2_654_435_761 % 2**32:08x}-0000-4000-8000-{number:012x}",
        status="CREATED",
        state=State.RUNNING,
        version=2,
        entered=True,
        object=msgspec.Raw(json.dumps(carried).encode()),
        created_at=at,
        updated_at=at,
        offsets=(4 * number, 4 * number + 1),
    )


def standing(number: int) -> tuple[str, State]:
    """Where a run is left: a few where all began, one of a thousand paused, one of twenty waiting,
    the rest at its end."""
    if number % 100_000 == 17:
        return "CREATED", State.RUNNING
    if number % 1_000 == 13:
        return "PICKED", State.PAUSED
    if number % 20 == 1:
        return "PACKED", State.RUNNING
    return ("SHIPPED", State.CANCELLED if number % 100 == 50 else State.COMPLETED)


def moved(number: int, run: Record) -> Record:
    status, state = standing(number)
    late = timedelta(seconds=number * 48_271 % 3_600)
    return msgspec.structs.replace(
        run,
        status=status,
        state=state,
        version=5,
        updated_at=run.updated_at + late,
        offsets=tuple(range(4 * number, 4 * number + 5)),
    )


def piles(runs: int, shard: int) -> Iterator[list[Change]]:
    """What is written to one shard, checkpoint by checkpoint."""
    numbers = (n for n in range(runs) if LAYOUT.shard_of(f"order-{n:08}") == shard)
    waiting: list[tuple[int, Record]] = []
    for number in numbers:
        waiting.append((number, begun(number)))
        if len(waiting) == PILE:
            yield from _both(waiting)
            waiting = []
    yield from _both(waiting)


def _both(waiting: list[tuple[int, Record]]) -> Iterator[list[Change]]:
    yield [Change(run.foreign_id, None, run) for _, run in waiting]
    yield [Change(run.foreign_id, run, moved(number, run)) for number, run in waiting]


def fill(table: RunsTable, runs: int, shard: int) -> None:
    for position, pile in enumerate(piles(runs, shard), 1):
        rows = [None if change.after is None else encode_record(change.after) for change in pile]
        table.write(pile, rows, AsOf("benchmark", position, position))


class Worker:
    """As much of a host as looking at runs asks for."""

    def __init__(self, folder: Path) -> None:
        self.workflows = {"orders": orders}
        self.vaults = Vaults([orders], cast("Any", None), 1_000_000, cast("Any", None))
        memory, clock, threads = Memory(), SystemClock(), ThreadPoolExecutor(1)
        self.tables = [
            RunsTable(folder / str(number), memory, terms_of(orders)) for number in range(SHARDS)
        ]
        self._shards = [
            Shard(
                orders,
                number,
                table,
                end=0,
                clock=clock,
                threads=threads,
                wake=lambda: None,
                misplaced=lambda _: False,
                limits=Limits(),
                may_start=lambda: False,
            )
            for number, table in enumerate(self.tables)
        ]
        for shard in self._shards:
            shard.maybe_live()

    def shards(self, workflow: str) -> list[Shard]:
        return self._shards

    def shard_of(self, workflow: str, foreign_id: str) -> Shard:
        return self._shards[LAYOUT.shard_of(foreign_id)]


def questions(runs: int) -> dict[str, dict[str, Any]]:
    at = BEGIN + timedelta(seconds=runs // 2)
    return {
        "no filter, by foreign id": {},
        "no filter, newest first": {"order": "-created"},
        "no filter, last changed first": {"order": "-updated"},
        "no filter, last foreign id first": {"order": "-foreign_id"},
        "rare state, by foreign id": {"state": ["PAUSED"]},
        "rare state, newest first": {"state": ["PAUSED"], "order": "-created"},
        "rare state, last changed first": {"state": ["PAUSED"], "order": "-updated"},
        "a few where all began": {"status": ["CREATED"], "order": "updated"},
        "no run fits": {"state": ["DATA_DELETED"], "order": "-created"},
        "one of twenty, by foreign id": {"status": ["PACKED"]},
        "one of twenty, newest first": {"status": ["PACKED"], "order": "-created"},
        "one of twenty, first changed first": {"status": ["PACKED"], "order": "updated"},
        "common status, newest first": {"status": ["SHIPPED"], "order": "-created"},
        "exact foreign id": {"workflow": "orders", "foreign_id": f"order-{runs // 2:08}"},
        "prefix of a hundred": {"prefix": f"order-{runs // 2:08}"[:-2], "order": "-created"},
        "created in an hour": {"created_after": at, "created_before": at + timedelta(hours=1)},
        "created in an hour, paused, by foreign id": {
            "created_after": at,
            "created_before": at + timedelta(hours=1),
            "state": ["PAUSED"],
        },
        "changed before half, last changed first": {"updated_before": at, "order": "-updated"},
        "rare search, by foreign id": {"search": {"customer": ["customer-000042"]}},
        "rare search, newest first": {
            "search": {"customer": ["customer-000042"]},
            "order": "-created",
        },
        "common search, newest first": {"search": {"item": ["lamp"]}, "order": "-created"},
        "common search and rare state": {
            "search": {"item": ["lamp"]},
            "state": ["PAUSED"],
            "order": "-created",
        },
    }


async def timed(ask: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """Seconds of this thread, which does all of it, the best of several; and the answer."""
    best, began = float("inf"), time.perf_counter()
    for _ in range(TIMES):
        start = time.thread_time()
        answer = await ask()
        best = min(best, time.thread_time() - start)
        if time.perf_counter() - began > PATIENCE:
            break
    return best, answer


async def deep(looking: Looking, order: str, size: int) -> str:
    """The cursor after ten pages of a size."""
    cursor = None
    for _ in range(10):
        page = await looking.find(Query.of(order=order, limit=size, cursor=cursor))
        cursor = page.cursor
    assert cursor is not None
    return cursor


async def ask_all(looking: Looking, runs: int) -> dict[str, tuple[float, str]]:
    found = {}
    for name, asked in questions(runs).items():
        query = Query.of(**asked)
        seconds, page = await timed(partial(looking.find, query))
        assert isinstance(page, Page)
        found[name] = (seconds, f"{len(page.runs)} runs" + (", more" if page.cursor else ""))
    for order in ("-created", "-updated", "foreign_id"):
        query = Query.of(order=order, cursor=await deep(looking, order, min(runs // 20, 1_000)))
        seconds, page = await timed(partial(looking.find, query))
        found[f"a page behind 10,000 runs, order {order}"] = (seconds, f"{len(page.runs)} runs")
    at = BEGIN + timedelta(seconds=runs // 2)
    for name, counted in {
        "count by state": Filter(state=[State.PAUSED]),
        "count of what was created in an hour": Filter(
            created_after=at, created_before=at + timedelta(hours=1)
        ),
        "count of a rare search": Filter(search={"customer": ["customer-000042"]}),
        "count of all before half": Filter(created_before=at),
    }.items():
        seconds, count = await timed(partial(looking.count, counted))
        found[name] = (seconds, str(count.count))
    return found


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(runs: int, folder: Path) -> dict[str, Any]:
    empty = Worker(folder)
    gc.collect()
    before, begun_at = resident(), time.process_time()
    for number, table in enumerate(empty.tables):
        fill(table, runs, number)
    filling = time.process_time() - begun_at
    for table in empty.tables:
        table.close()
    start = time.perf_counter()
    worker = Worker(folder)
    opening = time.perf_counter() - start
    found = asyncio.run(ask_all(Looking(cast("Host", worker)), runs))
    gc.collect()
    after = resident()
    for table in worker.tables:
        table.close()
    return {
        "runs": runs,
        "filling_us_per_row": filling / runs / 2 * 1e6,
        "opening_ms": opening * 1e3,
        "disk_bytes_per_run": sum(f.stat().st_size for f in folder.rglob("*.sst")) / runs,
        "resident_mb": after / 1e6,
        "grown_bytes_per_run": (after - before) / runs,
        "ms": {name: 1e3 * seconds for name, (seconds, _) in found.items()},
        "answers": {name: answer for name, (_, answer) in found.items()},
    }


@click.command()
@click.option("--runs", default=1_000_000, help="Runs in the tables of one worker.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, as_json: bool) -> None:
    """Measure pages and counts of lists of runs."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(runs, Path(folder))
    if as_json:
        print(json.dumps(found))
        return
    table = Table("what", "ms", "answer", title=f"pages of 50, {runs:,} runs in {SHARDS} shards")
    for name, milliseconds in found["ms"].items():
        table.add_row(name, f"{milliseconds:,.2f}", found["answers"][name])
    for name in ("filling_us_per_row", "opening_ms", "disk_bytes_per_run", "resident_mb"):
        table.add_row(name, f"{found[name]:,.1f}", "")
    table.add_row("grown_bytes_per_run", f"{found['grown_bytes_per_run']:,.1f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
