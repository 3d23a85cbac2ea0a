"""Running a worker until it is told to stop."""

import asyncio
import gc
import os
import signal
from collections.abc import Sequence
from typing import Any

import uvloop

from streamwf.access import Authenticator
from streamwf.agents.app import WorkflowApp, faust_app
from streamwf.definition import Workflow
from streamwf.ports import Logger
from streamwf.settings import Settings

#: Seconds that a stop may take beyond what steps in progress get.
PATIENCE = 15.0

#: Objects that are made before the youngest are looked through for garbage.
YOUNG = 50_000


def run_worker(
    workflows: Sequence[Workflow[Any, Any]],
    settings: Settings,
    logger: Logger | None = None,
    authenticator: Authenticator | None = None,
) -> None:
    """Run a worker until SIGTERM or SIGINT. logger: takes what it logs; structlog, unless given.

    authenticator: says who asks over HTTP, before those that the settings name.

    Raises StreamwfError for what a person has to mend: no broker, a topic with other partitions,
    a data directory in use, live runs in a status that is gone.
    """
    tune()
    uvloop.run(serve_worker(workflows, settings, logger, authenticator))


def tune() -> None:
    """Tell the garbage collector of a process that is nothing but a worker what to leave alone.

    What has been imported stays for good, and events live for too short a time to be looked at
    every 700 of them: a tenth of the time and the longest pauses went into that.
    """
    gc.freeze()
    gc.set_threshold(YOUNG)


async def serve_worker(
    workflows: Sequence[Workflow[Any, Any]],
    settings: Settings,
    logger: Logger | None = None,
    authenticator: Authenticator | None = None,
) -> None:
    """The same on a loop that runs already."""
    app = faust_app(*workflows, settings=settings, logger=logger, authenticator=authenticator)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await _run(app, stop)


async def _run(app: WorkflowApp, stop: asyncio.Event) -> None:
    app.finalize()
    signals = [asyncio.ensure_future(event.wait()) for event in (stop, app.failing)]
    ended = asyncio.ensure_future(_started(app))
    try:
        await asyncio.wait({*signals, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for signal_seen in signals:
            signal_seen.cancel()
        await _stopped(app)
        results = await asyncio.gather(ended, return_exceptions=True)
    for error in (app.fatal, *results):
        if isinstance(error, Exception):
            raise error


async def _stopped(app: WorkflowApp) -> None:
    """Stop the app, and the process with it if Faust does not come to an end.

    A Faust app that is told to stop in the middle of a rebalance can wait for ever. Its shards are
    closed and durable by then, and whoever waits for this process must not wait for that.
    """
    stopping = asyncio.ensure_future(app.stop())
    patience = app.settings.shutdown_grace.total_seconds() + PATIENCE
    if not (await asyncio.wait({stopping}, timeout=patience))[0]:
        app.host.logger.warning("faust_does_not_stop", seconds=patience)
        os._exit(0 if app.fatal is None else 1)
    await stopping


async def _started(app: WorkflowApp) -> None:
    await app.start()
    await app.wait_until_stopped()
