"""The page: static files, which ask the API for all that they show.

They are read once, and each has a route: whatever a request names, no path leads to a disk. Some
are parts, for which a file of somebody else's can be served.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TypeAlias

from aiohttp import hdrs, web

from streamwf.errors import PageFileUnreadable, PagePartUnknown
from streamwf.looking import Host

_FILES = Path(__file__).parent / "static"

_INDEX = "index.html"

#: What the page has to know of settings.
SETTINGS = "/page/settings.json"

_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}

#: The parts that can be replaced, and what each exports; styles and pictures export nothing.
PARTS: Mapping[str, tuple[str, ...]] = {
    "overview.js": ("Overview",),
    "workflow.js": ("Workflow",),
    "runs.js": ("Runs",),
    "run.js": ("Run",),
    "letters.js": ("Letters",),
    "schedules.js": ("Schedules",),
    "diagram.js": ("Diagram",),
    "object.js": ("ObjectPanel",),
    "timeline.js": ("Timeline", "Failure"),
    "theme.css": (),
    "icon.svg": (),
}

#: What is replaced can still be had, as `run.js?ours`: to be shown within what replaces it.
OURS = "ours"

#: What replaces parts: a file for each of them, or the directory that the files are in.
Replaced: TypeAlias = Mapping[str, str | Path] | str | Path


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    type: str
    etag: str


def add_page(app: web.Application, host: Host, replaced: Replaced | None = None) -> None:
    """Serve the page at `/`, and its files below `/page/`, with what it has to know of settings.

    Raises PagePartUnknown and PageFileUnreadable.
    """

    async def settings(request: web.Request) -> web.Response:
        return web.json_response({"trace_url": host.settings.trace_url})

    app.router.add_get(SETTINGS, settings)
    others = {} if replaced is None else _others(replaced)
    for path, file in _files().items():
        app.router.add_get(path, partial(_answer, file, others.get(path, file)))


def page_paths() -> frozenset[str]:
    """Where the files of the page are. They tell nothing, and are for whoever is to sign in."""
    return frozenset(_files())


async def _answer(ours: _File, shown: _File, request: web.Request) -> web.Response:
    file = ours if request.query_string == OURS else shown
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


def _others(replaced: Replaced) -> dict[str, _File]:
    """What is served instead of ours, by the path of each."""
    named = replaced if isinstance(replaced, Mapping) else _within(Path(replaced))
    for name in named:
        if name not in PARTS:
            raise PagePartUnknown(name=name, known=", ".join(PARTS))
    return {f"/page/{name}": _other(Path(path)) for name, path in named.items()}


def _within(directory: Path) -> dict[str, Path]:
    """The files of a directory, but for hidden ones."""
    try:
        found = sorted(directory.iterdir())
    except OSError as error:
        raise PageFileUnreadable(path=directory, cause=error.strerror) from None
    return {path.name: path for path in found if not path.name.startswith(".")}


def _other(path: Path) -> _File:
    try:
        return _read(path)
    except OSError as error:
        raise PageFileUnreadable(path=path, cause=error.strerror) from None


def _read(path: Path) -> _File:
    body = path.read_bytes()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0]
    return _File(body, kind or "application/octet-stream", hashlib.sha256(body).hexdigest()[:20])
