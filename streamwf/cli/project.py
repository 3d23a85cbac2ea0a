"""`streamwf project`: a table of runs in a database, which follows those on Kafka."""

import asyncio
import contextlib
import signal
from typing import Any

import click

from streamwf.adapters import loggers
from streamwf.adapters.certificates import mistaken
from streamwf.adapters.sql.engine import create
from streamwf.adapters.stores import named_store
from streamwf.cli import options
from streamwf.cli.output import say
from streamwf.cli.targets import AnyWorkflow, load_workflows
from streamwf.settings import Settings, load


@click.command()
@options.targets
@click.option("--search", is_flag=True, help="With a column for each search field.")
@options.settings(*options.STORE, *options.TOPICS, "log_level")
def project(targets: tuple[str, ...], search: bool, **flags: Any) -> None:
    """Keep a table of each workflow's runs in a database, until SIGTERM or Ctrl-C.

    The tables follow the changelogs on Kafka; each change is in them once. Workers go on meanwhile.
    """
    settings = load(flags)
    loggers.configure(settings.log_level)
    workflows = load_workflows(targets)
    for workflow in workflows:
        if search and workflow.encrypt and workflow.search:
            say(f"{workflow.name} encrypts: its search fields are left out")
    asyncio.run(_project(workflows, settings, search))


async def _project(workflows: list[AnyWorkflow], settings: Settings, search: bool) -> None:
    # Faust takes its time to import.
    from streamwf.agents.projection import project

    named = named_store(settings)
    if named is None:
        raise mistaken("store", "say in --store or DATABASE_URL which database it is")
    engine = create(*named)
    projecting = asyncio.gather(*(project(w, settings, engine, search=search) for w in workflows))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, projecting.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await projecting
    finally:
        await engine.dispose()
