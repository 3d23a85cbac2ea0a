"""A worker that serves the page, on a thread of its own: a browser is driven from the test's."""

import asyncio
import gc
import threading
import warnings
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from aiohttp import web

from streamwf import Client
from streamwf.adapters.web import NoPeers, Server, application, serve
from streamwf.adapters.web.page import Replaced
from streamwf.embedded import EmbeddedHost
from streamwf.gateway import LocalGateway
from streamwf.operations import Operations
from streamwf.views import Filter, Trigger
from streamwf.web import mount
from tests.page.flows import orders, reports

Result = TypeVar("Result")

PATIENCE = 60.0


class Site:
    """A worker of the shop. prefix: where its page is mounted, if it has an application around.

    replaced: parts of the page that are of the shop.
    """

    def __init__(self, prefix: str = "", replaced: Replaced | None = None) -> None:
        self._prefix = prefix
        self._replaced = replaced
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="site", daemon=True)
        self.host: EmbeddedHost
        self.server: Server

    @property
    def url(self) -> str:
        return self.server.url

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of what is done on the worker's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def start(self) -> None:
        self._thread.start()
        self.do(self._started())

    async def _started(self) -> None:
        self.host = EmbeddedHost(orders(), reports())
        await self.host.start()
        self.client = Client(LocalGateway(Operations(self.host)))
        if self._prefix:
            app = web.Application()
            mount(app, self.host, prefix=self._prefix, files=self._replaced)
        else:
            operations = Operations(self.host)
            app = application(operations, NoPeers(), lambda: None, page=self._replaced)
        self.server = await serve(app, "127.0.0.1", 0)

    def stop(self) -> None:
        async def stopped() -> None:
            await self.server.stop()
            await self.host.stop(0)

        self.do(stopped())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # A browser connects while nobody takes it any more, and whichever test runs when such a
        # connection is thrown away would be blamed for it. The server may know it.
        del self.server
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def trigger(self, foreign_id: str, workflow: str = "orders", **given: Any) -> str:
        """The id of a run that is accepted. given: fields of its object."""
        asked = Trigger(foreign_id=foreign_id, object=given)
        view = self.do(Operations(self.host).trigger(workflow, asked))
        return view.run_id

    def trigger_all(self, foreign_ids: Sequence[str], **given: Any) -> None:
        """Returns once all runs are accepted."""

        async def triggered() -> None:
            operations = Operations(self.host)
            for foreign_id in foreign_ids:
                asked = Trigger(foreign_id=foreign_id, object=given)
                await operations.append_trigger("orders", asked)
            while await self.client.count(Filter(workflow="orders")) < len(foreign_ids):
                await asyncio.sleep(0.02)

        self.do(triggered())

    def until(self, run_id: str, fits: Callable[[Any], bool]) -> Any:
        """A run as it is once it fits."""

        async def looked() -> Any:
            operations = Operations(self.host)
            async with asyncio.timeout(PATIENCE):
                while not fits(view := await operations.get(run_id)):
                    await asyncio.sleep(0.01)
            return view

        return self.do(looked())

    def state(self, run_id: str, state: str) -> Any:
        return self.until(run_id, lambda view: view.state == state)


@contextmanager
def serving(prefix: str = "", replaced: Replaced | None = None) -> Iterator[Site]:
    site = Site(prefix, replaced)
    site.start()
    try:
        yield site
    finally:
        site.stop()
