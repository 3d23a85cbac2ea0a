"""`streamwf dev`: run workflows on this machine, and show their examples."""

import asyncio
import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from streamwf.adapters import loggers
from streamwf.adapters.http import HttpGateway
from streamwf.adapters.stores import MEMORY, shown, store_of
from streamwf.adapters.web import url_of
from streamwf.cli import options
from streamwf.cli.output import say, why, write
from streamwf.cli.serving import Served, free_port, in_memory, on_store
from streamwf.cli.targets import AnyWorkflow, load_workflows
from streamwf.errors import RunInProgress, StreamwfError
from streamwf.record import LIVE, State
from streamwf.settings import Settings, load
from streamwf.views import EventView, RunView, Trigger

#: The foreign id of the run that is made of a workflow's `example=`.
EXAMPLE = "example"

#: Seconds between two looks at the example's run.
LOOK = 0.05


@click.command()
@options.targets
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.INT, help="Port to listen on; 0 for a free one.  [default: 6066]"
)
@click.option(
    "--store",
    help="Where everything is kept: a database, like sqlite:///orders.db or"
    " postgresql://user@host/orders; or memory. With --log kafka, also redis://host or"
    " rocksdb:///orders.  [default: sqlite:///streamwf.db]",
)
@click.option(
    "--kafka",
    is_flag=True,
    help="Run on Kafka: on the brokers in KAFKA_BROKERS, or on one that is started for this.",
)
@options.settings(*options.ACCESS)
@click.option(
    "--log-level", type=options.LEVELS, help="The least that is logged.  [default: warning]"
)
@options.settings("log", *options.KAFKA, "page_dir")
def dev(
    targets: tuple[str, ...],
    host: str | None,
    port: int | None,
    store: str | None,
    kafka: bool,
    log_level: str | None,
    **flags: Any,
) -> None:
    """Run workflows here: to try them, or for good, on a database.

    TARGET is MODULE, MODULE:WORKFLOW, FILE.py or FILE.py:WORKFLOW. The web views are served until
    Ctrl-C; whoever starts it again finds all runs as they were. A workflow with `example=` gets a
    run of it, and its moves are shown. Several on one PostgreSQL or MariaDB share the runs.
    """
    here = {"web_host": host, "web_port": port, "store": store, "log_level": log_level}
    settings = load({**flags, **here}, Settings.model_construct(log_level="warning"))
    loggers.configure(settings.log_level)
    workflows = load_workflows(targets)
    with _until_told_to_stop():
        if kafka or (settings.adapters == "kafka" and settings.store is None):
            _on_kafka(workflows, settings)
        else:
            url, setting = store_of(settings)
            asyncio.run(_on_store(workflows, settings, url, setting))


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """SIGTERM is as good as Ctrl-C, and both end well."""
    with suppress(KeyboardInterrupt):
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


async def _on_store(
    workflows: Sequence[AnyWorkflow], settings: Settings, url: str, setting: str
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if url == MEMORY:
        async with in_memory(workflows, settings) as served:
            await _until(stop, served, workflows, "in memory")
    else:
        async with on_store(workflows, settings, url, setting) as served:
            log = f", log in Kafka at {settings.brokers}" if settings.log == "kafka" else ""
            await _until(stop, served, workflows, f"in {shown(url)}{log}")


async def _until(
    stop: asyncio.Event, served: Served, workflows: Sequence[AnyWorkflow], where: str
) -> None:
    """Raises StreamwfError if it can't go on."""
    examples = asyncio.create_task(_show(served.url, workflows, where, served.ca_file))
    served.failed.add_done_callback(lambda _: stop.set())
    try:
        await stop.wait()
    finally:
        await _ended(examples)
    if served.failed.done():
        raise served.failed.result()


def _on_kafka(workflows: Sequence[AnyWorkflow], settings: Settings) -> None:
    with ExitStack() as stack:
        if "brokers" in settings.model_fields_set:
            here = {}
        else:
            # A broker of one's own starts with nothing, and so must the tables.
            from streamwf.adapters.local_kafka import find_broker

            broker = stack.enter_context(find_broker(say))
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamwf-dev-"))
            here = {"brokers": broker.bootstrap, "data_dir": Path(folder)}
        port = settings.web_port or free_port(settings.web_host)
        asyncio.run(_worker(workflows, settings.model_copy(update={**here, "web_port": port})))


async def _worker(workflows: Sequence[AnyWorkflow], settings: Settings) -> None:
    from streamwf.agents import serve_worker

    url = url_of(settings.web_host, settings.web_port, settings.web_cert_file is not None)
    where = f"on Kafka at {settings.brokers}"
    examples = asyncio.create_task(_show(url, workflows, where, settings.web_ca_file))
    try:
        await serve_worker(workflows, settings)
    finally:
        await _ended(examples)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# ---- what is shown


async def _show(
    url: str, workflows: Sequence[AnyWorkflow], where: str, ca_file: Path | None
) -> None:
    await _listening(url)
    gateway = HttpGateway(options.endpoint(url, ca_file=ca_file))
    try:
        async with asyncio.TaskGroup() as tasks:
            names = ", ".join(workflow.name for workflow in workflows)
            write(f"{names} at {url}/ ({where}; Ctrl-C stops)")
            for workflow in workflows:
                if workflow.example is not None:
                    tasks.create_task(_show_example(gateway, url, workflow))
    finally:
        await gateway.close()


async def _listening(url: str) -> None:
    """Return once somebody listens there."""
    place = urlsplit(url)
    while True:
        try:
            _, writer = await asyncio.open_connection(place.hostname, place.port)
        except ConnectionRefusedError:
            await asyncio.sleep(LOOK)
        else:
            writer.close()
            return


async def _show_example(gateway: HttpGateway, url: str, workflow: AnyWorkflow) -> None:
    try:
        run_id = await _started(gateway, workflow)
        write(f"{workflow.name}: example run {url}/#/run/{run_id}")
        await _follow(gateway, workflow.name, run_id)
    except StreamwfError as error:
        say(f"{workflow.name}: its example can't be shown. {error}")


async def _started(gateway: HttpGateway, workflow: AnyWorkflow) -> str:
    """The id of the example's run: a new one, or the one that is in progress."""
    data = json.loads(workflow.dump_checked(workflow.example))
    try:
        return await gateway.trigger(
            workflow.name, Trigger(foreign_id=EXAMPLE, object=data), wait=True
        )
    except RunInProgress as error:
        run_id: str = error.run_id
        return run_id


async def _follow(gateway: HttpGateway, name: str, run_id: str) -> None:
    """Tell each move of a run as it happens, until the run has ended."""
    told = 0
    while True:
        run = await gateway.get(run_id)
        if run.version > told:
            history = await gateway.history(run_id)
            for event in history.events:
                if event.version > told:
                    write(f"{name}: {_line(run, event)}")
                    told = event.version
        if run.state not in LIVE:
            write(f"{name}: {run.state} at {run.status}")
            return
        await asyncio.sleep(LOOK)


def _line(run: RunView, event: EventView) -> str:
    since = (event.time - run.created_at).total_seconds()
    line = f"{since:8.3f} s  {event.type:<10} {event.status:<16} {why(event)}".rstrip()
    if event.state is State.PAUSED:
        line += f" (go on with: streamwf runs resume {run.run_id})"
    return line
