"""`python -m tests.chaos`: torment real workers on a real broker for as long as you like."""

import asyncio
import json
import logging
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from streamwf.errors import StreamwfError
from tests.chaos.plan import Kind
from tests.chaos.report import Report, show
from tests.chaos.torment import Torment

KINDS = [kind.name.lower() for kind in Kind]


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1), default=3.0, show_default=True)
@click.option("--seed", type=int, help="A random one, unless given.")
@click.option("--only", type=click.Choice(KINDS), multiple=True, help="Of this kind, or these.")
@click.option("--proxies", is_flag=True, help="Cut no network of namespaces, but TCP proxies.")
@click.option("--exactly-once", is_flag=True, help="With `processing_guarantee` exactly_once.")
@click.option("--keep", is_flag=True, help="Leave the folder even if all is well.")
@click.option("--json", "as_json", is_flag=True, help="Write the report as JSON to stdout.")
def main(
    minutes: float,
    seed: int | None,
    only: tuple[str, ...],
    proxies: bool,
    exactly_once: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Kill, stop, cut off and rob workers for some minutes; then say whether they have lost
    anything. Ctrl-C stops that early, and looks at what there is; again, it just ends."""
    # aiokafka tells of each try to reach a broker that was killed.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    seed = random.randrange(1 << 32) if seed is None else seed
    console = Console(stderr=True, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="streamwf-chaos-"))

    def say(said: str) -> None:
        console.print(said, markup=False, soft_wrap=True)

    kinds = [Kind[name.upper()] for name in only] or list(Kind)
    torment = Torment(folder, seed, minutes * 60, say, kinds, exactly_once=exactly_once)
    say(f"seed {seed}; what is written lies in {folder}")
    again = f"python -m tests.chaos --minutes {minutes:g} --seed {seed}"
    again += "".join(f" --only {name}" for name in only) + (" --proxies" if proxies else "")
    again += " --exactly-once" if exactly_once else ""
    try:
        report = asyncio.run(_watched(torment, minutes * 60, proxies, console))
    except KeyboardInterrupt:
        say(f"Interrupted; logs are in {folder}")
        sys.exit(130)
    except StreamwfError as error:
        sys.exit(str(error))
    except BaseException:
        say(f"It has come to nothing; logs are in {folder}; again: {again}")
        raise
    (folder / "report.json").write_text(json.dumps(report.json(), indent=2))
    show(report, console)
    if as_json:
        print(json.dumps(report.json(), indent=2))
    if report.right and not keep:
        shutil.rmtree(folder)
    else:
        say(f"All that was written is in {folder}; again: {again}")
    sys.exit(not report.right)


async def _watched(torment: Torment, seconds: float, proxies: bool, console: Console) -> Report:
    running = asyncio.create_task(torment.run(proxies=proxies))

    def interrupted() -> None:
        if torment.phase == "tormenting":
            console.print("No more of it. Ctrl-C again ends all at once.")
            torment.interrupt()
            torment.phase = "interrupted"
        else:
            running.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task(torment.phase, total=seconds)
        began: float | None = None
        while not running.done():
            await asyncio.wait({running}, timeout=0.5)
            told = f"{torment.phase}: {torment.placed} orders, {torment.made} faults"
            if torment.phase == "tormenting":
                began = began or loop.time()
                progress.update(bar, completed=loop.time() - began)
            progress.update(bar, description=told)
    try:
        return running.result()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


if __name__ == "__main__":
    main()
