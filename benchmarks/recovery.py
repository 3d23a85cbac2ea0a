"""How long it takes until all is as it was: after a worker is killed, from a changelog, from a log.

`python -m benchmarks.recovery [--runs N] [--json]` starts a broker of its own. The machine should
be idle otherwise. CPU seconds are those of the process that recovers, and say something on a busy
machine, too.
"""

import asyncio
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.aims import AIMED
from benchmarks.crash import Alarms, Crew, alarms, takeover
from benchmarks.load import PARTITIONS, trigger_record
from benchmarks.piles import one_run, write_pile
from benchmarks.processes import cpu_of
from benchmarks.throughput import HERE, Worker
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.adapters.local_kafka import find_broker
from streamwf.settings import Settings

#: The session timeouts that are measured: the default, and the fast setting of docs/recovery.md.
SESSIONS = {"default": "10s", "fast": "2s"}

#: Events of one run: its trigger, and what its three steps lead to.
EVENTS = 4

#: Seconds within which work is to go on after a kill, with each of them.
TAKEOVER = {"default": 12.0, "fast": 3.0}

#: The runs that the aims of a pile are stated for; they are a rate for others.
MILLION = 1_000_000

Say = Callable[[str], None]


def of_prefix(settings: Settings, prefix: str) -> Settings:
    return settings.model_copy(update={"topic_prefix": prefix})


async def starts(settings: Settings, folder: Path, rounds: int) -> list[float]:
    """Seconds from the start of a worker with empty tables to its being ready."""
    found = []
    for number in range(rounds):
        own = folder / f"start-{number}"
        begun = time.perf_counter()
        worker = Worker(settings, own, environment={"STREAMWF_TOPIC_PREFIX": "start."})
        try:
            await worker.ready()
            found.append(time.perf_counter() - begun)
        finally:
            worker.stop()
            shutil.rmtree(own)
    return found


async def takeovers(
    settings: Settings, folder: Path, rounds: int, say: Say
) -> dict[str, dict[str, float]]:
    """The median and the longest time until work went on, for each setting."""
    found = {}
    for setting, session in SESSIONS.items():
        for standbys in (0, 1):
            name = f"{setting}-{standbys}."
            crew = Crew(of_prefix(settings, name), folder, name, session, standbys)
            times = []
            for number in range(rounds):
                say(f"killing a worker, {setting}, {standbys} standbys, {number + 1} of {rounds}")
                times.append(await takeover(crew))
            found[f"{setting}, {standbys} standbys"] = {
                "first_step_median_s": statistics.median(first for first, _ in times),
                "first_step_max_s": max(first for first, _ in times),
                "all_shards_median_s": statistics.median(last for _, last in times),
                "all_shards_max_s": max(last for _, last in times),
            }
    return found


async def false_alarms(
    settings: Settings, folder: Path, seconds: float, say: Say
) -> dict[str, Alarms]:
    found = {}
    for setting, session in SESSIONS.items():
        say(f"full load for {seconds:g} s, {setting}")
        name = f"load-{setting}."
        crew = Crew(of_prefix(settings, name), folder, name, session, 0)
        found[setting] = await alarms(crew, seconds)
    return found


async def piled(settings: Settings, folder: Path, runs: int, console: Console) -> dict[str, float]:
    """Rebuild the tables of so many runs from their log; then recover them from the changelog."""
    environment = {"STREAMWF_TOPIC_PREFIX": "story."}
    await ensure_topics(["orders"], of_prefix(settings, "story."))
    worker = Worker(settings, folder / "story", environment=environment)
    try:
        story = await one_run(of_prefix(settings, "story."), trigger_record(0), EVENTS)
    finally:
        worker.stop()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("writing the log")
        await write_pile(
            of_prefix(settings, "piled."),
            story,
            runs,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    rebuilt = await asyncio.to_thread(rebuild, settings, folder / "rebuilt")
    return rebuilt | await recover(settings, folder / "recovered", console)


def rebuild(settings: Settings, folder: Path) -> dict[str, float]:
    """`streamwf rebuild`, as people call it; it shows its bar itself."""
    folder.mkdir()
    command = [sys.executable, "-m", "streamwf.cli", "rebuild", str(HERE / "order_flow.py")]
    command += ["--brokers", settings.brokers, "--topic-prefix", "piled.", "--json"]
    command += ["--partitions", str(PARTITIONS), "--data-dir", str(folder)]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    return {
        "rebuild_events": json.loads(printed)["events"],
        "rebuild_s": seconds,
        "rebuild_cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


async def recover(settings: Settings, folder: Path, console: Console) -> dict[str, float]:
    """A worker without tables, from its start until it is ready."""
    begun = time.perf_counter()
    worker = Worker(settings, folder, environment={"STREAMWF_TOPIC_PREFIX": "piled."})
    try:
        url = await worker.url()
        with console.status("recovering") as status:
            async with aiohttp.ClientSession() as session:
                while told := await not_ready(session, url):
                    status.update(told)
                    await asyncio.sleep(0.2)
        return {
            "changelog_s": time.perf_counter() - begun,
            "changelog_cpu_s": cpu_of(worker.process.pid),
        }
    finally:
        worker.stop()


async def not_ready(session: aiohttp.ClientSession, url: str) -> str:
    """Why a worker is not ready; empty if it is."""
    async with session.get(f"{url}/readyz") as answer:
        return "" if answer.status == 200 else str((await answer.json())["detail"])


async def measure(
    settings: Settings, folder: Path, runs: int, rounds: int, seconds: float, console: Console
) -> dict[str, Any]:
    found: dict[str, Any] = {"runs": runs}

    async def part(name: str, measuring: Awaitable[Any]) -> None:
        found[name] = await measuring

    if rounds:
        await part("start_s", starts(settings, folder, rounds))
        await part("takeover", takeovers(settings, folder, rounds, console.print))
    if seconds:
        loaded = await false_alarms(settings, folder, seconds, console.print)
        found["full_load"] = {name: vars(each) for name, each in loaded.items()}
    if runs:
        found |= await piled(settings, folder, runs, console)
    return found


def show(found: dict[str, Any], console: Console) -> None:
    table = Table("what", "seconds", "aim", title="recovery")
    if "start_s" in found:
        told, aim = f"{statistics.median(found['start_s']):.1f}", AIMED["start_s"].bound
        table.add_row("start of a worker", told, f"{aim:g}")
    for name, times in found.get("takeover", {}).items():
        told = f"{times['first_step_median_s']:.1f}, at most {times['first_step_max_s']:.1f}"
        aim = TAKEOVER[name.split(",")[0]]
        table.add_row(f"first step after a kill, {name}", told, f"{aim:g}")
    for name, alarm in found.get("full_load", {}).items():
        told = f"{alarm['left'] + alarm['opened']} ({alarm['rate']:,.0f} transitions/s)"
        table.add_row(f"false alarms under full load, {name}", told, "0")
    for name in ("rebuild", "changelog"):
        if f"{name}_s" in found:
            told = f"{found[f'{name}_s']:.1f} ({found[f'{name}_cpu_s']:.1f} CPU)"
            aim = AIMED[f"{name}_s"].bound * found["runs"] / MILLION
            table.add_row(f"{name}, {found['runs']:,} runs", told, f"{aim:g}")
    console.print(table)


@click.command()
@click.option("--runs", default=MILLION, help="Runs to rebuild and recover; 0 leaves that out.")
@click.option("--rounds", default=5, help="Workers killed in each setting; 0 leaves that out.")
@click.option("--seconds", default=60.0, help="Of full load in each setting; 0 leaves that out.")
@click.option("--json", "as_json", is_flag=True)
def main(runs: int, rounds: int, seconds: float, as_json: bool) -> None:
    """Measure how soon all goes on after a crash."""
    console = Console(stderr=True)
    with find_broker(say=console.print) as broker, tempfile.TemporaryDirectory() as folder:
        settings = Settings(brokers=broker.bootstrap, partitions=PARTITIONS)
        found = asyncio.run(measure(settings, Path(folder), runs, rounds, seconds, console))
    if as_json:
        print(json.dumps(found))
    else:
        show(found, Console())


if __name__ == "__main__":
    main()
