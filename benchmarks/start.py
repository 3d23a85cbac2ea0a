"""How long a worker takes from its start until it is ready, with empty tables.

`python -m benchmarks.start [--rounds N] [--json]` starts a broker of its own. From the start of the
process, so with what Python takes to import it all, until `/readyz` says yes.
"""

import statistics

import click

from benchmarks.figures import Bench, Figure, benchmark
from benchmarks.recovery import starts

FIGURES = {
    "start_s": Figure("start of a worker to ready, median", "s"),
    "start_max_s": Figure("the longest", "s"),
}


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Workers that are started.")
@click.option("--json", "as_json", is_flag=True)
def main(rounds: int, as_json: bool) -> None:
    """Measure how soon a worker is ready."""

    async def measure(bench: Bench) -> None:
        with bench.console.status(f"starting {rounds} workers, one after the other"):
            found = await starts(bench.settings, bench.folder, rounds)
        bench.found["start_s"] = statistics.median(found)
        bench.found["start_max_s"] = max(found)

    benchmark("a worker with empty tables", FIGURES, measure, as_json=as_json)


if __name__ == "__main__":
    main()
