"""Simulating: one seed, told in full; or many, on all cores, until they are done or it is
interrupted."""

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.outcome import command, ordered, outcome_of, outcome_of_seed, shrunk
from tests.simulation.plan import a_plan
from tests.simulation.telling import tell


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, and tell what happens")
    parser.add_argument("--only", help="with these entries of its plan: 0,3,7 or none")
    parser.add_argument("--shrink", action="store_true", help="leave out what is not needed")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--from", type=int, dest="first", help="the first of them; any by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    asked = parser.parse_args()
    ordered("tests.simulation")
    return one(asked) if asked.seed is not None else many(asked)


def one(asked: argparse.Namespace) -> int:
    plan = a_plan(asked.seed)
    if asked.only is not None:
        plan = plan.only({int(n) for n in asked.only.split(",") if n.isdigit()})
    outcome = outcome_of(plan)
    if outcome.broken and asked.shrink:
        outcome = shrunk(outcome)
    print(tell(outcome))
    print(f"{outcome.seconds:.2f} s; the story is {outcome.digest}")
    return 1 if outcome.broken else 0


def many(asked: argparse.Namespace) -> int:
    first = time.time_ns() % 1_000_000_000 if asked.first is None else asked.first
    console, began, done = Console(), time.monotonic(), Counter[str]()
    failed: list[int] = []
    progress = Progress(
        TextColumn("seeds from {task.fields[first]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]} failed"),
        TimeRemainingColumn(),
        console=console,
    )
    with progress, ProcessPoolExecutor(asked.jobs, initializer=_deaf) as pool:
        bar = progress.add_task("", total=asked.seeds, first=first, failed=0)
        seeds = iter(range(first, first + asked.seeds))
        try:
            for seed, told, counts in _outcomes(pool, seeds, 4 * asked.jobs):
                done += counts
                if told:
                    failed.append(seed)
                    console.print(told, markup=False, highlight=False)
                progress.update(bar, advance=1, failed=len(failed))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    _sum_up(console, done, failed, time.monotonic() - began)
    return 1 if failed else 0


def _outcomes(
    pool: ProcessPoolExecutor, seeds: Iterator[int], ahead: int
) -> Iterator[tuple[int, str, Counter[str]]]:
    waiting: set[Future[tuple[int, str, Counter[str]]]] = set()
    while True:
        for seed in seeds:
            waiting.add(pool.submit(_run, seed))
            if len(waiting) >= ahead:
                break
        if not waiting:
            return
        ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        for future in ended:
            yield future.result()


def _run(seed: int) -> tuple[int, str, Counter[str]]:
    """The seed, what is wrong with it, and how often what has happened."""
    outcome = outcome_of_seed(seed)
    counts = Counter(seeds=1, events=outcome.events, executed=outcome.executed) + outcome.faults
    if not outcome.broken:
        return seed, "", counts
    return seed, f"{tell(shrunk(outcome))}\nwhole: {command(outcome)}\n", counts


def _deaf() -> None:
    """An interruption is for who shows the progress."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _sum_up(console: Console, done: Counter[str], failed: list[int], seconds: float) -> None:
    seeds, events, executed = (done.pop(name, 0) for name in ("seeds", "events", "executed"))
    console.print(
        f"{seeds} seeds in {seconds:.0f} s: {events} events, {executed} calls of the workflows'"
        f" code, {sum(done.values())} faults"
    )
    console.print(", ".join(f"{name} {count}" for name, count in sorted(done.items())))
    if failed:
        console.print(f"[red]{len(failed)} seeds failed: {', '.join(map(str, sorted(failed)))}")


if __name__ == "__main__":
    sys.exit(main())
