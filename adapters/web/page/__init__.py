"""The page: static files, which ask the API for all that they show.

They are read once, and each has a route: whatever a request names, no path leads to a disk.
"""

import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from aiohttp import hdrs, web

from streamwf.looking import Host

_FILES = Path(__file__).parent / "static"

_INDEX = "index.html"

#: What the page has to know of settings.
SETTINGS = "/page/settings.json"

_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    type: str
    etag: str


def add_page(app: web.Application, host: Host) -> None:
    """Serve the page at `/`, and its files below `/page/`, with what it has to know of settings."""

    async def settings(request: web.Request) -> web.Response:
        return web.json_response({"trace_url": host.settings.trace_url})

    app.router.add_get(SETTINGS, settings)
    for path, file in _files().items():
        app.router.add_get(path, partial(_answer, file))


def page_paths() -> frozenset[str]:
    """Where the files of the page are. They tell nothing, and are for whoever is to sign in."""
    return frozenset(_files())


async def _answer(file: _File, request: web.Request) -> web.Response:
    # Asked for at each visit, so that a page is never older than its worker; sent once.
    headers = {hdrs.CACHE_CONTROL: "no-cache"}
    known = [etag.value for etag in request.if_none_match or ()]
    if file.etag in known:
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(body=file.body, headers=headers, content_type=file.type)
        response.charset = "utf-8"
    response.etag = file.etag
    return response


@cache
def _files() -> dict[str, _File]:
    """By the path of each."""
    files = {
        path.relative_to(_FILES).as_posix(): _read(path)
        for path in sorted(_FILES.rglob("*"))
        if path.is_file()
    }
    return {"/" if name == _INDEX else f"/page/{name}": file for name, file in files.items()}


def _read(path: Path) -> _File:
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return _File(body, kind or "application/octet-stream", hashlib.sha256(body).hexdigest()[:20])
