"""The orders of a shop on the embedded host: `make demo`, or `python -m examples.demo`.

KEEP=1 in the environment leaves it running, to be looked at with a browser or curl.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from examples.orders import orders
from examples.story import Story, exit_code_of, read_orders
from streamwf import Client
from streamwf.adapters.web import NoPeers, application, serve
from streamwf.embedded import EmbeddedHost
from streamwf.operations import Operations


async def demonstrate() -> bool:
    """Returns whether all went as it has to."""
    async with running() as (host, url), Client.over_http(url) as client:
        story = Story(client, read_orders())
        say = story.console.print
        say(f"{len(story.placed)} orders come in at {url}/api/v1/runs, everything in memory.")
        await asyncio.gather(story.place_all(), story.watch(until=story.settled))
        say("Every order has ended, or waits for a person:")
        await story.resume_paused()
        await story.watch(until=story.ended)
        right = await story.tell_results()
        differences = host.verify(orders.name)
        events = len(host.logs[orders.name].records)
        say(f"The log of {events:,} events, folded anew: {len(differences)} differences.")
        if os.environ.get("KEEP") == "1":
            await keep(url, story)
        return right and not differences


@asynccontextmanager
async def running() -> AsyncIterator[tuple[EmbeddedHost, str]]:
    """The embedded host with its web views at a free port."""
    host = EmbeddedHost(orders)
    await host.start()
    try:
        server = await serve(application(Operations(host), NoPeers(), lambda: None), "127.0.0.1", 0)
        try:
            yield host, server.url
        finally:
            await server.stop()
    finally:
        await host.stop()


async def keep(url: str, story: Story) -> None:
    """Stay until Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    story.console.print(f"Still there, until Ctrl-C: {url}/api/v1/runs")
    await stop.wait()


if __name__ == "__main__":
    sys.exit(exit_code_of(lambda: asyncio.run(demonstrate())))
