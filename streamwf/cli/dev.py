"""`streamwf dev`: run workflows on this machine to try them, and show their examples."""

import asyncio
import json
import signal
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import click

from streamwf.adapters import loggers
from streamwf.adapters.http import HttpGateway
from streamwf.adapters.web import NoPeers, application, serve, url_of
from streamwf.cli import options
from streamwf.cli.output import say, why, write
from streamwf.cli.targets import AnyWorkflow, load_workflows
from streamwf.embedded import EmbeddedHost
from streamwf.errors import RunInProgress, StreamwfError
from streamwf.operations import Operations
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
    "--kafka",
    is_flag=True,
    help="Run on Kafka: on the brokers in KAFKA_BROKERS, or on one that is started for this.",
)
@click.option(
    "--log-level", type=options.LEVELS, help="The least that is logged.  [default: warning]"
)
def dev(
    targets: tuple[str, ...],
    host: str | None,
    port: int | None,
    kafka: bool,
    log_level: str | None,
) -> None:
    """Run workflows here, in memory, to try them.

    TARGET is MODULE, MODULE:WORKFLOW, FILE.py or FILE.py:WORKFLOW. The web views are served until
    Ctrl-C. A workflow with `example=` gets a run of it, and its moves are shown.
    """
    flags = {"web_host": host, "web_port": port, "log_level": log_level}
    settings = load(flags, Settings.model_construct(log_level="warning"))
    loggers.configure(settings.log_level)
    workflows = load_workflows(targets)
    with _until_told_to_stop():
        if kafka or settings.adapters == "kafka":
            _on_kafka(workflows, settings)
        else:
            asyncio.run(_in_memory(workflows, settings))


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """SIGTERM is as good as Ctrl-C, and both end well."""
    with suppress(KeyboardInterrupt):
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


async def _in_memory(workflows: Sequence[AnyWorkflow], settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = EmbeddedHost(
        *workflows,
        max_record_bytes=settings.max_record_bytes,
        threads=settings.threads,
        log_objects=settings.log_objects,
    )
    await host.start()
    try:
        web = application(Operations(host), NoPeers(), lambda: None)
        server = await serve(web, settings.web_host, settings.web_port)
        examples = asyncio.create_task(_show(server.url, workflows, "in memory"))
        try:
            await stop.wait()
        finally:
            await _ended(examples)
            await server.stop()
    finally:
        await host.stop(settings.shutdown_grace.total_seconds())


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
        port = settings.web_port or _free_port(settings.web_host)
        asyncio.run(_worker(workflows, settings.model_copy(update={**here, "web_port": port})))


async def _worker(workflows: Sequence[AnyWorkflow], settings: Settings) -> None:
    from streamwf.agents import serve_worker

    url = url_of(settings.web_host, settings.web_port)
    examples = asyncio.create_task(_show(url, workflows, f"on Kafka at {settings.brokers}"))
    try:
        await serve_worker(workflows, settings)
    finally:
        await _ended(examples)


def _free_port(host: str) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as probe:
        port: int = probe.getsockname()[1]
        return port


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# ---- what is shown


async def _show(url: str, workflows: Sequence[AnyWorkflow], where: str) -> None:
    await _listening(url)
    gateway = HttpGateway(url)
    try:
        async with asyncio.TaskGroup() as tasks:
            names = ", ".join(workflow.name for workflow in workflows)
            write(f"{names} at {url}/api/v1/runs ({where}; Ctrl-C stops)")
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
        write(f"{workflow.name}: example run {url}/api/v1/runs/{run_id}")
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
