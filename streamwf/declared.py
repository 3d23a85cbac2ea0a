"""What a workflow declares: steps, callbacks, timeouts and the rest, and what they are given."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar, overload

import msgspec
from pydantic import TypeAdapter, ValidationError

from .errors import InvalidPayload, InvalidQuery, TooManyChildren
from .events import Start, check_foreign_id, derived_id
from .masking import Masking, details, masking_of
from .outcome import Outcome
from .pacing import Breaker, Rate
from .record import MAX_CHILDREN, State
from .retry import Retry

if TYPE_CHECKING:
    from .definition import Workflow

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)
PayloadT = TypeVar("PayloadT")
ChildT = TypeVar("ChildT")
ChildStatusT = TypeVar("ChildStatusT", bound=Enum)


class ChildRun(NamedTuple):
    """A run that a step has started.

    state, status: as it ended; None and empty while it is in progress. A start that was refused
        is cancelled, with the reason.
    object: what it carried at its end, as plain data; None if all children together carry more
        than their parent can hold.
    """

    workflow: str
    foreign_id: str
    run_id: str
    state: State | None = None
    status: str = ""
    reason: str = ""
    object: Any = None


@dataclass(slots=True)
class Run(Generic[ObjectT, StatusT]):
    """What a step sees of its run. Changes to `object` are saved when the step returns.

    attempt: the number of this try, counted from 1.
    idempotency_key: the same for every try of this step or timeout in this stay at its status,
        until it asks to be repeated; and for every try of this answer by a callback, or of this
        hook. For use with outside services.
    reason: why it was paused, resumed or cancelled, if it was.
    children: the runs that its steps have started.
    """

    workflow: str
    foreign_id: str
    run_id: str
    status: StatusT
    object: ObjectT
    version: int = 1
    attempt: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None
    idempotency_key: str = ""
    state: State = State.RUNNING
    reason: str = ""
    children: tuple[ChildRun, ...] = ()
    starts: list[Start] = field(default_factory=list, init=False, repr=False, compare=False)

    def start(
        self,
        workflow: "Workflow[ChildT, ChildStatusT]",
        foreign_id: str,
        object: ChildT,
        *,
        at: ChildStatusT | None = None,
        start_at: datetime | None = None,
        cancel_with_parent: bool = False,
    ) -> str:
        """Start a run of another workflow once this step's result is durable; return its id.

        The id is the same for every try of the step, so that no child is started twice. A child
        whose foreign id has another run in progress is refused, and counts as cancelled.

        at, start_at: as for a trigger. cancel_with_parent: whether it is cancelled with this run.

        Raises UnknownStatus, TerminalStart, InvalidObject, InvalidForeignId, InvalidQuery and
        TooManyChildren.
        """
        check_foreign_id(foreign_id)
        if start_at is not None and start_at.tzinfo is None:
            raise InvalidQuery(field="start_at", why="it has no time zone")
        status = workflow.check_start(at.name if at is not None else "").name
        run_id = derived_id(self.idempotency_key, workflow.name, foreign_id)
        if any(start.run_id == run_id for start in self.starts):
            return run_id
        if len(self.children) + len(self.starts) >= MAX_CHILDREN:
            raise TooManyChildren(run_id=self.run_id, count=MAX_CHILDREN)
        start = Start(
            workflow=workflow.name,
            foreign_id=foreign_id,
            run_id=run_id,
            status=status,
            data=msgspec.Raw(workflow.dump_checked(workflow.plain(object))),
            start_at=start_at,
            cascade=cancel_with_parent,
        )
        self.starts.append(start)
        return run_id


StepResult: TypeAlias = StatusT | Outcome
AsyncFunction: TypeAlias = Callable[
    [Run[ObjectT, StatusT]], Coroutine[Any, Any, StepResult[StatusT]]
]
SyncFunction: TypeAlias = Callable[[Run[ObjectT, StatusT]], StepResult[StatusT]]
Function: TypeAlias = AsyncFunction[ObjectT, StatusT] | SyncFunction[ObjectT, StatusT]

AsyncCallback: TypeAlias = Callable[
    [Run[ObjectT, StatusT], PayloadT], Coroutine[Any, Any, StepResult[StatusT]]
]
SyncCallback: TypeAlias = Callable[[Run[ObjectT, StatusT], PayloadT], StepResult[StatusT]]
CallbackFunction: TypeAlias = (
    AsyncCallback[ObjectT, StatusT, PayloadT] | SyncCallback[ObjectT, StatusT, PayloadT]
)

AsyncHook: TypeAlias = Callable[[Run[ObjectT, StatusT]], Coroutine[Any, Any, None]]
SyncHook: TypeAlias = Callable[[Run[ObjectT, StatusT]], None]

#: When a timeout is due: so long after entering the status, at an instant, or as the run says.
After: TypeAlias = (
    timedelta | datetime | Callable[[Run[ObjectT, StatusT]], timedelta | datetime | None]
)

#: When a step that waits for the runs it has started runs: once all of them have ended, once any
#: of them has, or each time that one has.
Children: TypeAlias = Literal["all", "any", "each"]


class HookOn(StrEnum):
    """What a hook can be for."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    COMPLETE = "complete"
    DATA_DELETED = "data_deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler(Generic[ObjectT, StatusT]):
    """A user's function, and how it is called.

    where: what it is called in errors, like `step at CREATED`.
    limit: running longer than this counts as an error.
    """

    where: str
    function: Callable[..., Any]
    is_async: bool
    retry: Retry
    limit: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover(Handler[ObjectT, StatusT]):
    """A handler that may move the run on from a status."""

    status: StatusT
    to: tuple[StatusT, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Mover[ObjectT, StatusT]):
    """What runs at a status, and how. Times are as long as they say, counts are of runs."""

    pause_after: int | None
    on_error: StatusT | None
    fatal: tuple[type[BaseException], ...]
    parallel: int
    lag: timedelta
    lag_alert: timedelta | None
    rate: Rate | None
    priority: Callable[[Run[ObjectT, StatusT]], int] | None
    breaker: Breaker | None
    children: Children | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeout(Mover[ObjectT, StatusT]):
    """What runs when a run has stayed at a status for too long."""

    name: str
    after: After[ObjectT, StatusT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback(Mover[ObjectT, StatusT]):
    """What an answer from outside leads to.

    payload: reads what comes; None for the bytes as they are.
    """

    name: str
    payload: TypeAdapter[Any] | None
    correlate: Callable[[ObjectT], str | None] | None

    @property
    def masking(self) -> Masking | None:
        """What is masked of what comes."""
        return None if self.payload is None else masking_of(self.payload)

    def misfit(self, carried: Masking, error: ValidationError, data: bytes) -> InvalidPayload:
        """Why what came does not fit, without what that was. carried: of the workflow's objects."""
        maskings = (self.masking, carried)
        masking = next((each for each in maskings if each is not None and each.masks), None)
        if masking is None:
            wrong = details(error, "payload")
        else:
            wrong = masking.details(error, "payload", data)
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in wrong)
        return InvalidPayload(name=self.name, detail=detail, errors=wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook(Handler[ObjectT, StatusT]):
    """What runs after a change of a run's state is durable."""

    on: HookOn


class FunctionDecorator(Generic[ObjectT, StatusT]):
    """Registers a function and hands it back as it was, with its type."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self, function: AsyncFunction[ObjectT, StatusT]
    ) -> AsyncFunction[ObjectT, StatusT]: ...

    @overload
    def __call__(
        self, function: SyncFunction[ObjectT, StatusT]
    ) -> SyncFunction[ObjectT, StatusT]: ...

    def __call__(self, function: Function[ObjectT, StatusT]) -> Function[ObjectT, StatusT]:
        self._register(function)
        return function


class CallbackDecorator(Generic[ObjectT, StatusT, PayloadT]):
    """Registers a callback's function and hands it back as it was, with its type."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self, function: AsyncCallback[ObjectT, StatusT, PayloadT]
    ) -> AsyncCallback[ObjectT, StatusT, PayloadT]: ...

    @overload
    def __call__(
        self, function: SyncCallback[ObjectT, StatusT, PayloadT]
    ) -> SyncCallback[ObjectT, StatusT, PayloadT]: ...

    def __call__(
        self, function: CallbackFunction[ObjectT, StatusT, PayloadT]
    ) -> CallbackFunction[ObjectT, StatusT, PayloadT]:
        self._register(function)
        return function


class HookDecorator(Generic[ObjectT, StatusT]):
    """Registers a hook's function and hands it back as it was, with its type."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(self, function: AsyncHook[ObjectT, StatusT]) -> AsyncHook[ObjectT, StatusT]: ...

    @overload
    def __call__(self, function: SyncHook[ObjectT, StatusT]) -> SyncHook[ObjectT, StatusT]: ...

    def __call__(
        self, function: AsyncHook[ObjectT, StatusT] | SyncHook[ObjectT, StatusT]
    ) -> AsyncHook[ObjectT, StatusT] | SyncHook[ObjectT, StatusT]:
        self._register(function)
        return function
