"""A run as the client tells it: with the workflow's own types."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Generic, NoReturn, TypeVar, cast

from pydantic_core import to_json

from .definition import Workflow
from .errors import InvalidObject, ObjectMasked, ObjectUnreadable
from .record import DELETED, State
from .redaction import MASK
from .views import CallView, ChildView, ErrorView, RunView, TimerView

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


@dataclass(frozen=True, slots=True)
class RunInfo(Generic[ObjectT, StatusT]):
    """A run as it is, with the workflow's own types. Its fields mean what those of a `RunView` do.

    object: None once its data was deleted. Over HTTP the masked fields of an object are `•••`; if
        its type takes no such value, whatever is asked of the object raises ObjectMasked.
    """

    workflow: str
    foreign_id: str
    run_id: str
    status: StatusT
    state: State
    object: ObjectT
    version: int
    created_at: datetime
    updated_at: datetime
    due_at: datetime | None
    attempt: int
    error: ErrorView | None
    reason: str
    timers: list[TimerView]
    held_until: datetime | None
    resume_at: datetime | None
    forget_at: datetime | None
    callbacks: list[CallView]
    hooks: list[str]
    children: list[ChildView]
    parent: str
    origin: str


class Withheld:
    """Stands in for an object that can't be made without the values of its masked fields."""

    def __init__(self, error: ObjectMasked) -> None:
        self._error = error

    def __getattr__(self, name: str) -> NoReturn:
        raise self._error

    def __getitem__(self, key: object) -> NoReturn:
        raise self._error

    def __repr__(self) -> str:
        return MASK


def _object(workflow: Workflow[ObjectT, StatusT], view: RunView) -> ObjectT:
    """Raises InvalidObject."""
    data = to_json(view.object)
    try:
        return workflow.load(data)
    except (InvalidObject, ObjectUnreadable):
        if not workflow.objects.masks or MASK.encode() not in data:
            raise
        error = ObjectMasked(workflow=workflow.name, run_id=view.run_id)
        return cast("ObjectT", Withheld(error))


def typed(workflow: Workflow[ObjectT, StatusT], view: RunView) -> RunInfo[ObjectT, StatusT]:
    """Raises InvalidObject if what the run carries does not fit."""
    # Once deletion is requested, what was sealed may be unreadable already.
    deleted = view.state in DELETED and view.object is None
    return RunInfo(
        workflow=view.workflow,
        foreign_id=view.foreign_id,
        run_id=view.run_id,
        status=workflow.member(view.status),
        state=view.state,
        object=cast("ObjectT", None) if deleted else _object(workflow, view),
        version=view.version,
        created_at=view.created_at,
        updated_at=view.updated_at,
        due_at=view.due_at,
        attempt=view.attempt,
        error=view.error,
        reason=view.reason,
        timers=view.timers,
        held_until=view.held_until,
        resume_at=view.resume_at,
        forget_at=view.forget_at,
        callbacks=view.callbacks,
        hooks=view.hooks,
        children=view.children,
        parent=view.parent,
        origin=view.origin,
    )
