"""All that has to be reached, measured, judged, stored and compared.

`python -m benchmarks.suite [--only NAME] [--json]` runs each benchmark of `benchmarks/aims.py` in a
process of its own, once the machine is idle or has not become so for a minute. One that fails is
told in the table and stops no other. Ctrl-C ends it with what there is.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.aims import AIMS, BENCHMARKS, figure_of, number
from benchmarks.history import Result, change, flat, last_of, store, stored
from benchmarks.machine import IDLE, commit, facts, wait_until_idle

#: Seconds that one benchmark may take, and that it may take to end after Ctrl-C.
LONGEST, ENDING = 1_800.0, 30.0


class Failed(Exception):
    """A benchmark has no figures."""


def run(command: Sequence[str], longest: float = LONGEST) -> dict[str, float]:
    """The figures of a benchmark. Raises Failed, and KeyboardInterrupt once it has ended itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        printed, said = process.communicate(timeout=longest)
    except subprocess.TimeoutExpired:
        end(process)
        raise Failed(f"took longer than {longest:g} s") from None
    except KeyboardInterrupt:
        end(process)
        raise
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise Failed(f"ended with {process.returncode}: {lines[-1][:120]}")
    try:
        return flat(json.loads(printed))
    except (ValueError, AttributeError):
        raise Failed("printed no JSON object") from None


def end(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C does, so that it ends its broker."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def measure(names: Sequence[str], result: Result, console: Console) -> None:
    for name in names:
        with console.status(f"{name}: waiting until the machine is idle"):
            result.busy[name] = round(wait_until_idle(), 3)
        with console.status(f"{name}: measuring"):
            try:
                result.figures[name] = run(BENCHMARKS[name])
            except Failed as failure:
                result.failed[name] = str(failure)
        console.print(f"{name}: {result.failed.get(name, 'done')}")


def table(result: Result, before: Sequence[Result]) -> Table:
    shown = Table("what", "aim", "result", "met", "last", "", title=f"at {result.commit}")
    for aim in AIMS:
        value, last = figure_of(result.figures, aim), last_of(before, aim)
        if value is not None:
            told, met = f"{number(value)} {aim.unit}", "yes" if aim.reached(value) else "NO"
            style = "" if aim.reached(value) else "red"
        else:
            told, met, style = result.failed.get(aim.benchmark, "not measured"), "", "dim"
        was = "" if last is None else number(last)
        shown.add_row(aim.what, aim.told, told.strip(), met, was, change(value, last), style=style)
    return shown


def not_idle(result: Result) -> list[str]:
    """The benchmarks that others took time from as they began."""
    return [name for name, share in result.busy.items() if share > IDLE]


@click.command()
@click.option("--only", type=click.Choice(list(BENCHMARKS)), multiple=True, help="Not the others.")
@click.option("--json", "as_json", is_flag=True)
def main(only: tuple[str, ...], as_json: bool) -> None:
    """Measure everything that has an aim."""
    console, before = Console(stderr=True), stored()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    result = Result(at, commit(), facts(), {}, {}, {})
    interrupted = False
    try:
        measure(only or list(BENCHMARKS), result, console)
    except KeyboardInterrupt:
        interrupted = True
    if result.figures:
        console.print(f"stored as {store(result).name}")
    if as_json:
        print(msgspec.json.encode(result).decode())
    else:
        Console().print(table(result, before))
    if busy := not_idle(result):
        console.print(f"The machine was not idle before: {', '.join(busy)}")
    sys.exit(130 if interrupted else bool(result.failed))


if __name__ == "__main__":
    main()
