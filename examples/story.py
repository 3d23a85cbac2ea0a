"""What both demonstrations tell: orders come in, some wait for a person, and all of them end."""

import asyncio
import json
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from examples.orders import STOCK, Order, Status, orders
from streamwf import Client, State, StreamwfError
from streamwf.errors import DeadlineExceeded
from streamwf.record import LIVE
from streamwf.views import Query, RunView, WorkflowView

FILE = Path(__file__).with_name("orders.jsonl")

#: Seconds between two orders, between two looks, and between two lines where there is no terminal.
PACE, LOOK, LINE = 0.008, 0.1, 1.0

#: Columns where there is no terminal.
WIDTH = 120

#: An order whose bank is slow, to be looked at in detail.
SLOW = "order-0011"


def exit_code_of(demonstrate: Callable[[], bool]) -> int:
    """0 if a demonstration went as it has to; what went wrong is told in a sentence."""
    # So that SIGTERM, too, ends the processes that were started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return 0 if demonstrate() else 1
    except StreamwfError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def read_orders() -> list[Order]:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return [Order.model_validate(json.loads(line)["object"]) for line in lines]


def ending(order: Order) -> Status:
    """Where an order has to end, by what the order itself says."""
    if order.bank == "refusing":
        return Status.CANCELLED
    if order.quantity > STOCK or not order.address:
        return Status.REFUNDED
    return Status.DELIVERED


class Board:
    """How many orders are at each status: drawn in place on a terminal, a line a second off it."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._began = monotonic()
        self._told = (-LINE, "")
        self._live = Live(console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> "Board":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, view: WorkflowView) -> None:
        if self._console.is_terminal:
            self._live.update(self._drawn(view))
            return
        since = monotonic() - self._began
        at, before = self._told
        line = ", ".join(f"{sum(states.values())} {s}" for s, states in view.counts.items())
        if since - at >= LINE and line != before:
            self._told = (since, line)
            self._console.print(f"{since:5.1f} s  {line}")

    def _drawn(self, view: WorkflowView) -> Table:
        table = Table(box=None)
        for status in view.statuses:
            states = view.counts.get(status, {})
            count, paused = sum(states.values()), states.get(State.PAUSED, 0)
            bar = ProgressBar(total=self._total, completed=count, width=40)
            table.add_row(status, bar, str(count), f"{paused} paused" if paused else "")
        return table


class Story:
    """Speaks to any worker over HTTP, as a shop would."""

    def __init__(self, client: Client, placed: list[Order]) -> None:
        self.client = client
        self.placed = placed
        self.console = Console(highlight=False, markup=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH

    async def place_all(self) -> None:
        """Place the orders one after another, as customers would."""
        placing = []
        for order in self.placed:
            placing.append(asyncio.create_task(self._place(order)))
            await asyncio.sleep(PACE)
        await asyncio.gather(*placing)

    async def _place(self, order: Order) -> None:
        """Place an order, and ask again if nobody answers: the key makes that harmless."""
        while True:
            try:
                await self.client.trigger(
                    orders, order.order_id, order, key=order.order_id, wait=True
                )
            except DeadlineExceeded:
                continue
            return

    async def watch(self, until: Callable[[WorkflowView], bool]) -> None:
        with Board(self.console, len(self.placed)) as board:
            while True:
                view = await self.client.describe(orders.name)
                board.show(view)
                if until(view):
                    return
                await asyncio.sleep(LOOK)

    def settled(self, view: WorkflowView) -> bool:
        """Whether every order has ended or waits for a person."""
        counts = _by_state(view)
        moving = counts[State.INITIATED] + counts[State.RUNNING]
        return not moving and counts.total() == len(self.placed)

    def ended(self, view: WorkflowView) -> bool:
        return self.settled(view) and not _by_state(view)[State.PAUSED]

    def half(self, view: WorkflowView) -> bool:
        """Whether half of the orders have ended."""
        ended = sum(n for state, n in _by_state(view).items() if state not in LIVE)
        return ended >= len(self.placed) / 2

    async def resume_paused(self) -> None:
        """Find the orders that wait for a person, and let them go on."""
        found = 0
        async for run in self._runs(Query(workflow=orders.name, state=[State.PAUSED])):
            self.console.print(f"  {run.foreign_id} waits: {run.reason}")
            await self.client.resume(run.run_id, "looked at: it is fine")
            found += 1
        self.console.print(f"{found} orders were looked at and resumed.")

    async def tell_results(self) -> bool:
        """Read every run back. Returns whether each order is there once, where it has to be."""
        runs = [run async for run in self._runs(Query(workflow=orders.name, limit=100))]
        self._tell_endings(runs)
        await self._tell_history()
        return self._tell_losses(runs)

    def _tell_endings(self, runs: Iterable[RunView]) -> None:
        counts: Counter[str] = Counter()
        values: defaultdict[str, Decimal] = defaultdict(Decimal)
        told: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for run in runs:
            order = Order.model_validate(run.object)
            counts[run.status] += 1
            values[run.status] += order.total
            told[run.status].update(_remarks(order))
        table = Table("ended at", title="What became of the orders", title_justify="left")
        for column in ("orders", "value"):
            table.add_column(column, justify="right")
        table.add_column("on the way")
        for status, count in counts.most_common():
            on_the_way = ", ".join(f"{n} {remark}" for remark, n in told[status].items())
            table.add_row(status, str(count), f"{values[status]:,.2f}", on_the_way)
        self.console.print(table)

    async def _tell_history(self) -> None:
        run = await self.client.latest(orders, SLOW)
        if run is None:
            return
        table = Table(title=f"How {SLOW} went, whose bank is slow", title_justify="left")
        for column in ("after", "event", "status", "why"):
            table.add_column(column)
        for event in (await self.client.history(run.run_id)).events:
            after = (event.time - run.created_at).total_seconds()
            why = event.error.message if event.error else event.timer
            table.add_row(f"{after:.3f} s", event.type, event.status, why)
        self.console.print(table)

    def _tell_losses(self, runs: Iterable[RunView]) -> bool:
        found = Counter(run.foreign_id for run in runs)
        at = {run.foreign_id: run.status for run in runs}
        lost = [o.order_id for o in self.placed if o.order_id not in found]
        twice = [foreign_id for foreign_id, count in found.items() if count > 1]
        astray = [
            o.order_id for o in self.placed if o.order_id in at and at[o.order_id] != ending(o).name
        ]
        for what, which in (("lost", lost), ("there twice", twice), ("ended elsewhere", astray)):
            self.console.print(f"{what}: {', '.join(which) or 'none'}")
        return not (lost or twice or astray)

    async def _runs(self, query: Query) -> AsyncIterator[RunView]:
        while True:
            page = await self.client.find(query)
            for run in page.runs:
                yield run
            if page.cursor is None:
                return
            query = query.model_copy(update={"cursor": page.cursor})


def _by_state(view: WorkflowView) -> Counter[str]:
    counts: Counter[str] = Counter()
    for states in view.counts.values():
        counts.update(states)
    return counts


def _remarks(order: Order) -> list[str]:
    remarks = {
        "asked a slow bank again": order.payment_attempts > 1,
        "looked at by a person": order.review == "passed",
        "sent by our own courier": bool(order.courier),
    }
    return [remark for remark, holds in remarks.items() if holds]
