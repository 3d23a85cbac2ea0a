"""What is wrong with a definition, all at once, each with its cure. Pure."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic.errors import (
    PydanticErrorMixin,
    PydanticUndefinedAnnotation,
    PydanticUserError,
)

from . import connector, recurring
from .declared import Callback, Handler, Mover, Step, Timeout
from .masking import Masking

if TYPE_CHECKING:
    from .definition import Workflow

_OPTIONS_FROM_ONE = ("parallel", "pause_after")


def mistakes(workflow: "Workflow[Any, Any]") -> list[str]:
    """All that is wrong with a definition but what its decorators have noted already."""
    return [
        mistake
        for look in (
            *(_name, _object, _statuses, _graph, _handlers, _renamed, _times, _search, _sealed),
        )
        for mistake in look(workflow)
    ]


def of_status(workflow: "Workflow[Any, Any]", status: object, what: str) -> list[str]:
    if isinstance(status, workflow.status_type):
        return []
    return [f"{what} {status!r} is no status: use one of {workflow.status_type.__name__}"]


def _name(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", workflow.name):
        yield (
            f"name {workflow.name!r}: use up to 100 lower-case letters, digits, '-', '_' or '.', "
            "and begin with a letter or a digit"
        )


#: What pydantic says of a type that it does not take.
Untaken = (PydanticUserError, PydanticUndefinedAnnotation)


def of_type(where: str, kind: object, error: PydanticErrorMixin) -> str:
    [first, *_] = error.message.splitlines()
    return f"{where} {kind!r}: {first}"


def _object(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    try:
        masking = workflow.objects.masking
    except Untaken as error:
        yield of_type("object type", workflow.object_type, error)
        return
    yield from of_masking(f"object type {workflow.object_type!r}", masking)
    for name in (name for name in workflow.search if masking.covers(name)):
        yield f"search {name!r} names a masked field: leave one of the two out"


def of_masking(where: str, masking: Masking) -> list[str]:
    """Masked fields that a serializer would show."""
    return [
        f"{where}: {shown} is masked, and has a serializer that shows it: put the serializer into "
        "the annotation, and Masked last: Annotated[T, PlainSerializer(…), Masked]"
        for shown in masking.shown
    ]


def _statuses(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    for name, member in workflow.status_type.__members__.items():
        if name != member.name:
            yield f"{name} is another name of {member.name}: give it a value of its own"


def _graph(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    graph, start = workflow.graph, workflow.start
    if not graph.moves:
        yield "it has no step: declare one with @workflow.step(STATUS, to=…)"
        return
    if start is None and len(graph.starts) != 1:
        which = ", ".join(graph.starts) or "none, as every status follows another"
        yield f"where does it start? Say start=STATUS (candidates: {which})"
        return
    if start is not None and not isinstance(start, workflow.status_type):
        yield from of_status(workflow, start, "start")
        return
    if start is not None and graph.terminal(start.name):
        yield f"nothing follows its start {start.name}: add a step there"
        return
    reachable = graph.reachable(workflow.start_name)
    for status in graph.statuses:
        if status in graph.moves and status not in reachable:
            yield (
                f"{status} is never reached from {workflow.start_name}: "
                "lead to it, or remove its step"
            )
    if all(not graph.terminal(status) for status in reachable):
        yield "no status ends it: lead to one that has no step"


def _handlers(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    for handler in workflow.handlers:
        found = list(_of_handler(handler))
        if isinstance(handler, Mover):
            found += _of_mover(workflow, handler)
        if isinstance(handler, Step):
            found += _of_step(workflow, handler)
        if isinstance(handler, Timeout):
            found += _of_timeout(handler)
        if isinstance(handler, Callback) and handler.masking is not None:
            found += of_masking("payload", handler.masking)
        if isinstance(handler, connector.Connector):
            found += connector.mistakes(handler)
        if isinstance(handler, recurring.Schedule):
            found += recurring.mistakes(handler)
            found += _of_start(workflow, handler.at)
        yield from (f"{handler.where}: {mistake}" for mistake in found)


def _of_start(workflow: "Workflow[Any, Any]", at: object) -> Iterator[str]:
    """A status that runs are started at."""
    if at is None:
        return
    yield from of_status(workflow, at, "at")
    if isinstance(at, workflow.status_type) and workflow.terminal(at.name):
        yield f"nothing follows {at.name}: let its runs start at another status"


def _of_handler(handler: Handler[Any, Any]) -> Iterator[str]:
    yield from handler.retry.mistakes()
    if handler.limit is not None and handler.limit <= timedelta(0):
        yield "timeout needs to be longer than nothing"


def _of_mover(workflow: "Workflow[Any, Any]", mover: Mover[Any, Any]) -> Iterator[str]:
    yield from of_status(workflow, mover.status, "its own")
    for destination in mover.to:
        yield from of_status(workflow, destination, "destination")
    if not mover.to:
        yield "it leads nowhere: name its statuses in to="


def _of_step(workflow: "Workflow[Any, Any]", step: Step[Any, Any]) -> Iterator[str]:
    for kind in step.fatal:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            yield f"fatal lists {kind!r}: list types of exceptions"
    for option in _OPTIONS_FROM_ONE:
        value = getattr(step, option)
        if value is not None and value < 1:
            yield f"{option} needs to be 1 or more"
    if step.lag < timedelta(0):
        yield "lag needs to be nothing or longer"
    if step.lag and step.children is not None:
        yield "it runs when its children have ended, whatever its lag: leave lag out"
    if step.lag_alert is not None and step.lag_alert <= timedelta(0):
        yield "lag_alert needs to be longer than nothing"
    for pacing in (step.rate, step.breaker):
        yield from () if pacing is None else pacing.mistakes()
    if step.children not in (None, "all", "any", "each"):
        yield f'children is {step.children!r}: use "all", "any" or "each"'
    if step.on_error is not None:
        yield from of_status(workflow, step.on_error, "on_error")
        if step.on_error == step.status:
            yield "on_error leads back to it for ever: name another status"


def _of_timeout(timeout: Timeout[Any, Any]) -> Iterator[str]:
    if isinstance(timeout.after, datetime) and timeout.after.tzinfo is None:
        yield f"after={timeout.after} has no time zone: give it one"


def of_name(where: str, name: str) -> list[str]:
    """A name that an event can hold among others."""
    if re.fullmatch(r"[^\s=*]{1,100}", name):
        return []
    return [f"{where}: use up to 100 characters, no spaces, no '=' and no '*'"]


def _renamed(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    for former, status in workflow.renamed.items():
        if former in workflow.status_type.__members__:
            yield f"renamed: {former} is still a status: leave it out"
        yield from of_status(workflow, status, f"renamed: what {former!r} is now,")


def _times(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    checks: list[tuple[str, timedelta | None, Callable[[timedelta], bool]]] = [
        ("auto_resume", workflow.auto_resume, lambda time: time > timedelta(0)),
        ("retention", workflow.retention, lambda time: time >= timedelta(0)),
    ]
    for name, value, fits in checks:
        if value is not None and not fits(value):
            yield f"{name} is {value}: give a time to come, or None"


def _sealed(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    for step in workflow.steps.values():
        if workflow.encrypt and step.priority is not None:
            yield (
                f"priority of {step.where} can't look into sealed objects: "
                "leave it out, or encrypt=True"
            )


def _search(workflow: "Workflow[Any, Any]") -> Iterator[str]:
    if isinstance(workflow.search, str):
        yield f"search is a text: give a tuple, like search=({workflow.search!r},)"
        return
    for name in workflow.search:
        if not re.fullmatch(r"[^\s.=]+(\.[^\s.=]+)*", name):
            yield f"search {name!r}: use names of fields, like 'customer' or 'address.city'"
