"""Very many timers that are due at once, while others wait and runs go on.

`python -m benchmarks.timers [--due N] [--waiting N] [--json]` starts a broker of its own. The
tables get runs that wait for an instant far away, without being run; then those whose timers are
all due at one instant are started as usual, and wait for it. When it comes, each run is moved by
its timeout and ends. All are counted in the log, as anybody outside sees them, by the clock of this
process. A timer is early if what it led to says an earlier time than it was due.

Meanwhile other runs of three steps go on, some fifty a second. Each is timed, from the trigger's
append to the completion seen, and so is each of its steps, from the event before it to its own;
those count that were under way while timers fired.
"""

import math
import time
from datetime import UTC, datetime, timedelta

import click
import msgspec
from aiokafka import ConsumerRecord

from benchmarks.ends import Ends, percentile
from benchmarks.figures import Bench, Figure, benchmark
from benchmarks.load import PARTITIONS, beside, feed, record, trigger
from benchmarks.piles import write_pile
from benchmarks.waiting import (
    OTHERS,
    all_waiting,
    story_of_waiting,
    worker_of,
    write_waiting,
)
from streamwf.events import Event
from streamwf.settings import Settings

FIGURES = {
    "timers_due": Figure("timers due at once"),
    "timers_waiting": Figure("others that wait"),
    "timers_fired_s": Figure("until all have fired", "s"),
    "timers_first_s": Figure("until the first has", "s"),
    "timers_early": Figure("fired too early"),
    "timers_missing": Figure("not fired at all"),
    "timers_step_p99_ms": Figure("a step of another run meanwhile, p99", "ms"),
    "timers_step_max_ms": Figure("the longest step", "ms"),
    "timers_probe_p50_ms": Figure("another run of three steps meanwhile, p50", "ms"),
    "timers_probe_p99_ms": Figure("a run, p99", "ms"),
    "timers_probe_max_ms": Figure("the longest run", "ms"),
    "timers_probes": Figure("runs that were timed"),
    "timers_probe_before_p99_ms": Figure("a run before any was due, p99", "ms"),
}

#: Numbers of the runs that are timed begin here; those that are due begin at OTHERS.
PROBES = 2 * OTHERS

#: Runs that are timed a second, and seconds between two of them at least.
RATE, PAUSE = 50, 0.01

#: Runs that are started a second at least, and seconds before the instant beside that.
STARTED, BEFORE = 2_000, 20.0

#: Seconds after which those that have not fired are called missing.
PATIENCE = 120.0

decode = msgspec.json.Decoder(Event).decode


class Fired:
    """The runs that were moved by a timer due at an instant, as the log tells.

    first, last: by `time.perf_counter`, when the first and the last were seen.
    """

    def __init__(self, due: datetime) -> None:
        self._due = due
        self._keys = set[bytes]()
        self.early = 0
        self.first = self.last = 0.0

    @property
    def count(self) -> int:
        return len(self._keys)

    def ended(self, record: ConsumerRecord) -> None:
        number = int(record.key.rpartition(b"-")[2])
        if not OTHERS <= number < PROBES or record.key in self._keys:
            return
        self._keys.add(record.key)
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.early += decode(record.value).time < self._due


async def due_at(settings: Settings, due: int) -> datetime:
    """Ask for runs that wait for one instant, and return it."""
    at = datetime.now(UTC).replace(microsecond=0)
    at += timedelta(seconds=BEFORE + due / STARTED)
    _, value = record(trigger("order-0", "WAITING", due=at.isoformat()))
    await write_pile(settings, [value], due, first=OTHERS)
    return at


async def fire(bench: Bench, settings: Settings, at: datetime, due: int, waiting: int) -> None:
    """See how those that are due at an instant fire."""
    instant = time.perf_counter() + (at - datetime.now(UTC)).total_seconds()
    fired = Fired(at)
    async with Ends(settings, range(PARTITIONS), fired.ended) as ends:

        def appending(key: bytes, partition: int) -> None:
            ends.begins(key)

        feeding = feed(settings, RATE, first=PROBES, pause=PAUSE, appending=appending)
        async with beside(feeding, ends.watch()) as pause:
            with bench.console.status("waiting for the instant"):
                await pause(instant - time.perf_counter())
            with bench.progress("timers") as progress:
                while fired.count < due and time.perf_counter() < instant + PATIENCE:
                    progress(fired.count, due)
                    await pause(0.1)
            await pause(1.0)
    last = fired.last or time.perf_counter()
    during = [run.seconds for run in ends.took if run.within(instant, last)]
    steps = [step.seconds for step in ends.steps if step.within(instant, last)]
    bench.found |= {
        "timers_due": due,
        "timers_waiting": waiting,
        "timers_fired_s": last - instant,
        "timers_first_s": fired.first - instant,
        "timers_early": fired.early,
        "timers_missing": due - fired.count,
        "timers_step_p99_ms": percentile(steps, 0.99),
        "timers_step_max_ms": percentile(steps, 1.0),
        "timers_probe_p50_ms": percentile(during, 0.5),
        "timers_probe_p99_ms": percentile(during, 0.99),
        "timers_probe_max_ms": percentile(during, 1.0),
        "timers_probes": len(during),
        "timers_probe_before_p99_ms": percentile(
            (run.seconds for run in ends.took if not run.within(instant, math.inf)), 0.99
        ),
    }


async def measured(bench: Bench, due: int, waiting: int) -> None:
    settings, folder = bench.of("timers."), bench.folder / "timers"
    story = await story_of_waiting(bench.of("story."), bench.folder / "story")
    with bench.progress("writing the log") as progress:
        await write_waiting(settings, story, range(waiting), progress)
    async with worker_of(settings, folder) as worker:
        with bench.progress("folding it") as progress:
            await all_waiting(worker, waiting, progress)
        at = await due_at(settings, due)
        with bench.progress("starting runs") as progress:
            await all_waiting(worker, waiting + due, progress)
        if datetime.now(UTC) >= at:
            raise click.ClickException(f"They were not started by {at}: this machine is too busy.")
        await fire(bench, settings, at, due, waiting)


@click.command()
@click.option("--due", default=100_000, show_default=True, help="Timers that are due at once.")
@click.option("--waiting", default=1_000_000, show_default=True, help="Others that wait.")
@click.option("--json", "as_json", is_flag=True)
def main(due: int, waiting: int, as_json: bool) -> None:
    """Measure how soon very many timers fire."""
    benchmark(
        f"{due:,} timers due at once, {waiting:,} others",
        FIGURES,
        lambda bench: measured(bench, due, waiting),
        as_json=as_json,
    )


if __name__ == "__main__":
    main()
