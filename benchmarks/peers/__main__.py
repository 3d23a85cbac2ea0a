"""streamwf against Restate and DBOS, by turns on one machine: steps per second, latency at idle.

`python -m benchmarks.peers [--runs N] [--turns N] [--json]` wants an otherwise idle machine with
npm, PostgreSQL's server, and what a Kafka broker needs. It installs the peers by itself, once
(`benchmarks/peers/installed.py`). Everything listens on 127.0.0.1 alone, and ends with the command.

Each engine has the same to do: runs of three steps that do nothing, an object of about 200 bytes
that every step hands on. Each gets its best:

- Before the turns, settings of each peer are tried: processes, concurrency, and of Restate
  partitions and one-way sends, of DBOS async steps or threads. The fastest is measured. streamwf
  has its defaults, four partitions, and one worker.
- All are durable alike: what was accepted survives a crash of every process, but not one of the
  machine. So neither Restate's log nor PostgreSQL waits for the disk, as Kafka does not.
- In a turn nothing else runs, but for streamwf's broker, which idles while the peers have theirs.
  Each peer starts on empty tables, and is warm before it counts.
- Under load each has as many runs as take it some seconds, by `--runs` and the share in `SHARES`.
  streamwf's triggers are in its log before its worker starts; Restate's requests are sent meanwhile
  (with one-way sends at a time, and what is left is waited for), and DBOS is called in its process,
  without a queue, which would cost it more statements.
- Latency is that of one run at a time, as its caller sees it: streamwf's from the trigger's append
  to the completion read by a consumer, Restate's from the HTTP request to its answer, DBOS's from
  the call of the workflow to its return, by its faster way.

Of rates the median of the turns is told, of latencies those of all turns together.
"""

import asyncio
import json
import signal
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.aims import AIMED
from benchmarks.ends import percentile
from benchmarks.load import PARTITIONS
from benchmarks.peers import on_dbos, on_restate
from benchmarks.peers.installed import Installed, install
from benchmarks.peers.running import Load
from benchmarks.throughput import worker_figures
from streamwf.adapters.local_kafka import find_broker
from streamwf.errors import StreamwfError
from streamwf.settings import Settings

#: How many runs a peer has under load for each of streamwf's; and for each setting that is tried.
SHARES = {"restate": 1 / 16, "dbos": 1 / 60}
TRY = 1 / 4

#: Runs that warm a peer up.
WARM_UP = 100


class Bench:
    """One command's measurements. runs: of streamwf under load. rounds: runs at idle, each turn."""

    def __init__(
        self, installed: Installed, settings: Settings, folder: Path, runs: int, rounds: int
    ) -> None:
        self._installed, self._settings, self._folder = installed, settings, folder
        self._runs, self._rounds = runs, rounds

    def share(self, peer: str, part: float = 1) -> int:
        return max(4, round(self._runs * SHARES[peer] * part))

    @contextmanager
    def _place(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            yield Path(place)

    async def best_restate(self) -> on_restate.Setting:
        found: dict[on_restate.Setting, float] = {}
        tried = on_restate.SETTINGS
        for _, settings in groupby(tried, lambda each: (each.processes, each.partitions)):
            several = list(settings)
            with self._place() as place:
                async with on_restate.restate(self._installed, several[0], place) as peer:
                    await peer.load(several[0], WARM_UP)
                    for each in several:
                        runs = self.share("restate", TRY)
                        found[each] = (await peer.load(each, runs)).rate
        return max(found, key=found.__getitem__)

    async def best_dbos(self) -> on_dbos.Setting:
        found: dict[on_dbos.Setting, float] = {}
        tried = on_dbos.SETTINGS
        for _, settings in groupby(tried, lambda each: (each.processes, each.concurrency)):
            several = list(settings)
            async with on_dbos.dbos(self._installed, several[0], self._folder) as peer:
                await peer.load(several[0], WARM_UP)
                for each in several:
                    found[each] = (await peer.load(each, self.share("dbos", TRY))).rate
        return max(found, key=found.__getitem__)

    async def streamwf(self) -> Load:
        settings = self._settings.model_copy(update={"topic_prefix": f"{uuid.uuid4().hex[:8]}-"})
        with self._place() as place:
            return Load(*await worker_figures(settings, self._runs, self._rounds, place))

    async def restate(self, best: on_restate.Setting) -> Load:
        single = replace(best, concurrency=1, one_way=False)
        with self._place() as place:
            async with on_restate.restate(self._installed, best, place) as peer:
                await peer.load(single, WARM_UP)
                idle = await peer.load(single, self._rounds)
                await peer.load(best, WARM_UP)
                loaded = await peer.load(best, self.share("restate"))
        return replace(loaded, latencies=idle.latencies)

    async def dbos(self, best: on_dbos.Setting) -> Load:
        idle: list[Load] = []
        single = replace(best, processes=1, concurrency=1)
        async with on_dbos.dbos(self._installed, single, self._folder) as peer:
            for way in ("tasks", "threads"):
                await peer.load(replace(single, way=way), WARM_UP)
                idle.append(await peer.load(replace(single, way=way), self._rounds))
        async with on_dbos.dbos(self._installed, best, self._folder) as peer:
            await peer.load(best, WARM_UP)
            loaded = await peer.load(best, self.share("dbos"))
        faster = min(idle, key=lambda each: statistics.median(each.latencies))
        return replace(loaded, latencies=faster.latencies)


async def measure(bench: Bench, turns: int, progress: Progress) -> dict[str, float]:
    task = progress.add_task("", total=2 + 3 * turns)

    def now(what: str, done: int) -> None:
        progress.update(task, description=what, completed=done)

    now("settings of Restate", 0)
    of_restate = await bench.best_restate()
    now("settings of DBOS", 1)
    of_dbos = await bench.best_dbos()
    loads: dict[str, list[Load]] = {"streamwf": [], "restate": [], "dbos": []}
    for turn in range(turns):
        told = f"turn {turn + 1} of {turns}"
        now(f"{told}: streamwf", 2 + 3 * turn)
        loads["streamwf"].append(await bench.streamwf())
        now(f"{told}: Restate", 3 + 3 * turn)
        loads["restate"].append(await bench.restate(of_restate))
        now(f"{told}: DBOS", 4 + 3 * turn)
        loads["dbos"].append(await bench.dbos(of_dbos))
    used = {f"restate_{name}": float(value) for name, value in vars(of_restate).items()}
    used |= {f"dbos_{name}": float(value) for name, value in vars(of_dbos).items() if name != "way"}
    return figures(loads) | used | {"dbos_async": float(of_dbos.way == "tasks")}


def figures(loads: dict[str, list[Load]]) -> dict[str, float]:
    """The rates, latencies and ratios, flat."""
    found: dict[str, float] = {}
    for name, turns in loads.items():
        seconds = sorted(each for load in turns for each in load.latencies)
        found[f"{name}_transitions_per_second"] = statistics.median(load.rate for load in turns)
        found[f"{name}_latency_p50_ms"] = 1000 * statistics.median(seconds)
        found[f"{name}_latency_p99_ms"] = percentile(seconds, 0.99)
    own = found["streamwf_transitions_per_second"]
    for peer in SHARES:
        found[f"streamwf_to_{peer}"] = own / found[f"{peer}_transitions_per_second"]
    return found


def show(found: dict[str, float], console: Console) -> None:
    table = Table("what", "steps/s", "idle p50", "idle p99", "ratio", "aim", title="the peers")
    for name, shown in {"streamwf": "streamwf", "restate": "Restate", "dbos": "DBOS"}.items():
        rate = f"{found[f'{name}_transitions_per_second']:,.0f}"
        times = [f"{found[f'{name}_latency_{each}_ms']:.1f} ms" for each in ("p50", "p99")]
        aim = AIMED.get(f"streamwf_to_{name}")
        ratio = (f"{found[aim.figure]:.0f}", aim.told) if aim else ("", "")
        table.add_row(shown, rate, *times, *ratio)
    console.print(table)


@click.command()
@click.option("--runs", default=60_000, show_default=True, help="Runs of streamwf, each turn.")
@click.option("--rounds", default=200, show_default=True, help="Runs at idle, each turn.")
@click.option("--turns", default=3, show_default=True, help="How often each is measured.")
@click.option("--json", "as_json", is_flag=True, help="Print one flat object of figures.")
def main(runs: int, rounds: int, turns: int, as_json: bool) -> None:
    """Measure streamwf, Restate and DBOS by turns."""
    console = Console(stderr=True)
    # What has been started ends with us, whoever ends us.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        found = bench(runs, rounds, turns, console)
    except StreamwfError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted: everything that was started is stopped.")
    if as_json:
        print(json.dumps(found))
    else:
        show(found, Console())


def bench(runs: int, rounds: int, turns: int, console: Console) -> dict[str, float]:
    with console.status("installing the peers, if they are not there yet"):
        installed = install()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with (
        find_broker(say=console.print) as broker,
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        settings = Settings(brokers=broker.bootstrap, partitions=PARTITIONS)
        measuring = Bench(installed, settings, Path(folder), runs, rounds)
        found = asyncio.run(measure(measuring, turns, progress))
    return {"runs": runs, "rounds": rounds, "turns": turns, **found}


if __name__ == "__main__":
    main()
