"""What a benchmark tells: figures with their aims, as a table or as one flat object of JSON."""

import json
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.aims import AIMED, number
from benchmarks.load import PARTITIONS
from streamwf.adapters.local_kafka import Broker, find_broker
from streamwf.settings import Settings

Found = dict[str, float]


class Figure(NamedTuple):
    """unit: behind the number. What it has to be `benchmarks.aims` says; one that it does not name
    only says how the others came about."""

    what: str
    unit: str = ""


class Bench:
    """Where figures are measured: a broker, a folder, and what people see meanwhile."""

    def __init__(self, broker: Broker, folder: Path, console: Console, found: Found) -> None:
        self.broker = broker
        self.settings = Settings(brokers=broker.bootstrap, partitions=PARTITIONS)
        self.folder = folder
        self.console = console
        self.found = found

    def of(self, prefix: str) -> Settings:
        """The settings of topics with a prefix."""
        return self.settings.model_copy(update={"topic_prefix": prefix})

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[float, float], None]]:
        """A bar; gives what is to be called with how much is done, and the whole."""
        columns = (TextColumn(what), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task("")
            yield lambda done, total: progress.update(task, completed=int(done), total=int(total))


def benchmark(
    title: str,
    figures: Mapping[str, Figure],
    measure: Callable[[Bench], Coroutine[Any, Any, None]],
    *,
    as_json: bool,
) -> None:
    """Measure on a broker that is found, and tell the figures; after Ctrl-C, those so far.

    Exits with 130 after Ctrl-C.
    """
    console, found = Console(stderr=True), Found()
    interrupted = False
    try:
        with find_broker(say=console.print) as broker, tempfile.TemporaryDirectory() as folder:
            uvloop.run(measure(Bench(broker, Path(folder), console, found)))
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        print(json.dumps(found))
    else:
        Console().print(table(title + interrupted * ", interrupted", figures, found))
    if interrupted:
        sys.exit(130)


def table(title: str, figures: Mapping[str, Figure], found: Found) -> Table:
    shown = Table("what", "measured", "aim", title=title)
    for name, value in found.items():
        figure, aim = figures[name], AIMED.get(name)
        told = "" if aim is None else aim.told
        style = "" if aim is None or aim.reached(value) else "red"
        shown.add_row(figure.what, f"{number(value)} {figure.unit}".rstrip(), told, style=style)
    return shown
