"""The page's files over HTTP, and the page in an application of one's own."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from streamwf.adapters.web import Server, serve
from streamwf.embedded import EmbeddedHost
from streamwf.web import mount
from tests.page.flows import orders


@pytest.fixture
async def mounted() -> AsyncIterator[Server]:
    """A shop's own application, in which the page is mounted."""
    host = EmbeddedHost(orders())
    await host.start()
    app = web.Application()
    mount(app, host, prefix="/shop/flows")
    server = await serve(app, "127.0.0.1", 0)
    yield server
    await server.stop()
    await host.stop(0)


@pytest.mark.parametrize(
    "path",
    ["/page/../__init__.py", "/page/%2e%2e/__init__.py", "/page/nothing.js", "/page//etc/passwd"],
)
async def test_no_path_leads_elsewhere(mounted: Server, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        url = URL(f"{mounted.url}/shop/flows{path}", encoded=True)
        async with session.get(url) as answer:
            assert answer.status == 404


async def test_a_file_is_sent_once(mounted: Server) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{mounted.url}/shop/flows/page/app.js"
        async with session.get(url) as answer:
            assert answer.content_type == "text/javascript"
            assert answer.headers["Cache-Control"] == "no-cache"
            tag = answer.headers["ETag"]
        async with session.get(url, headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")


async def test_mounted_with_its_api(mounted: Server) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{mounted.url}/shop/flows", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "/shop/flows/")
        async with session.get(f"{mounted.url}/shop/flows/api/v1/workflows") as answer:
            [workflow] = (await answer.json())["workflows"]
    assert workflow["search"] == ["customer", "address.city"]
    assert workflow["moves"]["SHIPPED"] == ["DELIVERED"]
