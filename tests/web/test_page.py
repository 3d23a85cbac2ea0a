"""The page's files over HTTP, and the page in an application of one's own."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from streamwf.adapters.web import Server, page, serve
from streamwf.adapters.web.answers import POLICY
from streamwf.embedded import EmbeddedHost
from streamwf.errors import PageFileUnreadable, PagePartUnknown
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


async def test_a_part_is_replaced_and_ours_is_still_there(tmp_path: Path) -> None:
    (tmp_path / "run.js").write_text("export const Run = () => 'mine';")
    (tmp_path / ".hidden").write_text("left alone")
    ours = (Path(page.__file__).parent / "static" / "run.js").read_bytes()
    for files in (tmp_path, str(tmp_path), {"run.js": tmp_path / "run.js"}):
        app = web.Application()
        mount(app, EmbeddedHost(orders()), prefix="/flows", files=files)
        server = await serve(app, "127.0.0.1", 0)
        async with aiohttp.ClientSession(f"{server.url}/flows/page/") as session:
            async with session.get("run.js") as answer:
                assert await answer.read() == b"export const Run = () => 'mine';"
                assert answer.content_type == "text/javascript"
                assert answer.headers["Content-Security-Policy"] == POLICY
                tag = answer.headers["ETag"]
            async with session.get("run.js?ours", headers={"If-None-Match": tag}) as answer:
                assert (answer.status, await answer.read()) == (200, ours)
            async with session.get(".hidden") as answer:
                assert answer.status == 404
        await server.stop()


@pytest.mark.parametrize("name", ["app.js", "nothing.js", "../x.js", "vendor/preact.js"])
def test_what_is_no_part_is_named_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(PagePartUnknown, match=r"there are: overview\.js, ") as raised:
        mount(web.Application(), EmbeddedHost(), files={"run.js": tmp_path, name: tmp_path})
    assert repr(name) in str(raised.value)


def test_a_directory_has_files_for_parts_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PagePartUnknown, match=r"'notes\.txt'"):
        mount(web.Application(), EmbeddedHost(), files=tmp_path)


def test_a_file_that_can_not_be_read_is_told(tmp_path: Path) -> None:
    for files in (tmp_path / "nowhere", {"run.js": tmp_path / "nowhere"}, {"run.js": tmp_path}):
        with pytest.raises(PageFileUnreadable, match=re.escape(str(tmp_path))):
            mount(web.Application(), EmbeddedHost(), files=files)


def test_each_part_exports_what_is_promised() -> None:
    for name, exports in page.PARTS.items():
        source = (Path(page.__file__).parent / "static" / name).read_text()
        for each in exports:
            assert re.search(rf"^export (function|const) {each}\b", source, re.MULTILINE), name


async def test_mounted_with_its_api(mounted: Server) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{mounted.url}/shop/flows", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, "/shop/flows/")
        async with session.get(f"{mounted.url}/shop/flows/api/v1/workflows") as answer:
            [workflow] = (await answer.json())["workflows"]
    assert workflow["search"] == ["customer", "address.city"]
    assert workflow["moves"]["SHIPPED"] == ["DELIVERED"]
