"""Versions of runs in headers: which one a view shows, and which one a request is for."""

import hashlib
import re
from typing import NamedTuple

from aiohttp import hdrs, web

from streamwf.errors import InvalidQuery, VersionDiffers
from streamwf.views import History, RunView, View

#: A version, and what tells its run and its view from others.
_TAG = re.compile(r"([0-9]{1,15})(?:\.([0-9a-f]{8})(?:\.[0-9a-f]{8})?)?")

EXAMPLE = '"7"'


def tag_of(view: View, body: bytes) -> dict[str, str]:
    """The header that says which version of a run a view shows; none if it is no view of a run.

    The same version may be shown in several ways: without what is masked, or while its step is
    held. And the latest run of a foreign id may be another one by now.
    """
    if isinstance(view, RunView):
        version = view.version
    elif isinstance(view, History) and view.events:
        version = view.events[-1].version
    else:
        return {}
    return {hdrs.ETAG: f'"{version}.{_digest(view.run_id.encode())}.{_digest(body)}"'}


class Wanted(NamedTuple):
    """The version that a request is for. run: the digest of its run's id, if it was told."""

    version: int
    run: str | None

    def of(self, action: str, run_id: str, version: int | None = None) -> int:
        """The version, of the run with that id. Raises VersionDiffers if another run is wanted."""
        if self.run not in (None, _digest(run_id.encode())):
            raise VersionDiffers(
                action=action,
                run_id=run_id,
                expected=f"{self.version} of another run",
                version=version or "one of its own",
            )
        return self.version


def read_wanted(request: web.Request) -> Wanted | None:
    """The version that `If-Match` names; None if any will do. Raises InvalidQuery."""
    told = ", ".join(request.headers.getall(hdrs.IF_MATCH, ["*"]))
    if told == "*":
        return None
    # Some that lie between make a strong tag weak; and few who type a version quote it.
    found = _TAG.fullmatch(told.removeprefix("W/").strip('"'))
    if found is None:
        why = f"it is the ETag of a view of the run, or its version like {EXAMPLE}"
        raise InvalidQuery(hdrs.IF_MATCH, why)
    return Wanted(int(found[1]), found[2])


def unchanged(request: web.Request, response: web.StreamResponse) -> bool:
    """Whether a request asks for a view only if it is another one than what would be answered."""
    told = response.headers.get(hdrs.ETAG)
    if told is None or response.status != 200 or request.method not in ("GET", "HEAD"):
        return False
    known = request.if_none_match or ()
    return any(tag.value in ("*", told.strip('"')) for tag in known)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]
