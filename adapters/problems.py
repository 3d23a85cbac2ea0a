"""Errors as problem details (RFC 9457), and problem details as errors again.

The type of a problem names the error's class and its members are the error's fields, so that both
ends work from the classes in `streamwf.errors` and nobody has to read sentences.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ConfigDict

from streamwf import errors
from streamwf.errors import StreamwfError
from streamwf.views import View

CONTENT_TYPE = "application/problem+json"

_TYPE = "urn:streamwf:error:"

#: Members that RFC 9457 defines; an error's field of such a name is told under another one.
_OWN = frozenset({"type", "title", "status", "detail", "instance"})
_RENAMED = "error_"

#: The status of a class holds for its subclasses too, unless they have their own.
_STATUS: dict[type[StreamwfError], int] = {
    errors.NotAuthenticated: 401,
    errors.RoleMissing: 403,
    errors.CrossSite: 403,
    errors.HostRefused: 421,
    errors.RunNotFound: 404,
    errors.WorkflowNotFound: 404,
    errors.ForeignIdNotFound: 404,
    errors.NothingCorrelated: 404,
    errors.ConnectorNotFound: 404,
    errors.LetterNotFound: 404,
    errors.ScheduleNotFound: 404,
    errors.ScheduleDeclared: 409,
    errors.RunInProgress: 409,
    errors.NotWaiting: 409,
    errors.TooManyCallbacks: 429,
    errors.TransitionRefused: 409,
    errors.VersionDiffers: 412,
    errors.AwaitFailed: 409,
    errors.KeyDestroyed: 410,
    errors.RecordTooLarge: 413,
    errors.RequestRefused: 422,
    errors.WorkerUnreachable: 502,
    errors.BrokerUnreachable: 503,
    errors.NotReady: 503,
    errors.TooManyWatchers: 503,
    errors.DeadlineExceeded: 504,
}

_CLASSES: dict[str, type[StreamwfError]] = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, StreamwfError)
}


class Problem(View):
    """What was wrong, as RFC 9457 has it.

    type: names the error; about:blank if the status says enough. Its fields are members, too.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


def problem(status: int, title: str, detail: str, **members: Any) -> dict[str, Any]:
    """The members of a problem that HTTP's own status says enough about."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}


def status_of(error: StreamwfError) -> int | None:
    """The HTTP status of an error; None if it is not one that a caller should see."""
    return status_of_class(type(error))


def status_of_class(kind: type[StreamwfError]) -> int | None:
    """The HTTP status of errors of a class; None if a caller should not see them."""
    return next((_STATUS[base] for base in kind.__mro__ if base in _STATUS), None)


def problem_of(error: StreamwfError, status: int) -> dict[str, Any]:
    """The members of the problem that tells an error."""
    name = type(error).__name__
    fields = {
        f"{_RENAMED}{field}" if field in _OWN else field: value
        for field, value in error.fields.items()
    }
    return problem(status, _title(name), str(error), **fields) | {"type": _TYPE + name}


def error_of(members: Mapping[str, Any]) -> StreamwfError | None:
    """The error that a problem tells; None if it tells none that is known here."""
    name = str(members.get("type", "")).removeprefix(_TYPE)
    kind = _CLASSES.get(name)
    if kind is None:
        return None
    fields = {
        field.removeprefix(_RENAMED): value for field, value in members.items() if field not in _OWN
    }
    try:
        return kind(**fields)
    except (KeyError, TypeError):
        return None


def told(body: bytes) -> StreamwfError | None:
    """The error that an answer's body tells; None if it tells none that is known here."""
    try:
        return error_of(msgspec.json.decode(body, type=dict[str, Any]))
    except msgspec.DecodeError:
        return None


def _title(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def known() -> frozenset[type[StreamwfError]]:
    """The classes of errors that have a status."""
    return frozenset(_STATUS)
