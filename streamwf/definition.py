"""Defining a workflow: a typed status machine, checked as a whole before anything runs."""

import inspect
import re
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar, overload

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic_core import PydanticSerializationError, to_json

from .errors import Fatal, InvalidDefinition, InvalidObject, TerminalStart, UnknownStatus
from .graph import Direction, Graph
from .outcome import Outcome
from .retry import Retry

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)


@dataclass(slots=True)
class Run(Generic[ObjectT, StatusT]):
    """What a step sees of its run. Changes to `object` are saved when the step returns.

    attempt: the number of this try, counted from 1.
    idempotency_key: the same for every try of this step in this stay at its status, until the
        step asks to be repeated; for use with outside services.
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


StepResult: TypeAlias = StatusT | Outcome
AsyncFunction: TypeAlias = Callable[
    [Run[ObjectT, StatusT]], Coroutine[Any, Any, StepResult[StatusT]]
]
SyncFunction: TypeAlias = Callable[[Run[ObjectT, StatusT]], StepResult[StatusT]]
Function: TypeAlias = AsyncFunction[ObjectT, StatusT] | SyncFunction[ObjectT, StatusT]

#: When a timeout is due: so long after entering the status, at an instant, or as the run says.
After: TypeAlias = (
    timedelta | datetime | Callable[[Run[ObjectT, StatusT]], timedelta | datetime | None]
)


@dataclass(frozen=True, slots=True)
class Step(Generic[ObjectT, StatusT]):
    """What runs at a status, and how. Times are as long as they say, counts are of runs."""

    status: StatusT
    to: tuple[StatusT, ...]
    function: Function[ObjectT, StatusT]
    is_async: bool
    retry: Retry
    pause_after: int | None
    timeout: timedelta | None
    on_error: StatusT | None
    fatal: tuple[type[BaseException], ...]
    parallel: int


@dataclass(frozen=True, slots=True)
class Timeout(Generic[ObjectT, StatusT]):
    """What runs when a run has stayed at a status for too long."""

    status: StatusT
    name: str
    to: tuple[StatusT, ...]
    function: Function[ObjectT, StatusT]
    is_async: bool
    after: After[ObjectT, StatusT]


class _Decorator(Generic[ObjectT, StatusT]):
    """Registers a function and hands it back as it was, with its type."""

    def __init__(self, register: Callable[[Function[ObjectT, StatusT]], None]) -> None:
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


@dataclass(eq=False)
class Workflow(Generic[ObjectT, StatusT]):
    """A named, typed status machine.

    name: lower-case letters, digits, `-`, `_` and `.`; it names the topics too.
    object_type: what a run carries: anything that pydantic's TypeAdapter takes.
    status_type: the enum of its statuses. Their names are what is stored.
    start: where a run starts unless told; the status that no other leads to, unless given.
    example: data of a run that `streamwf dev` starts for you to look at.
    auto_resume: how long a run that was paused by errors waits until it is tried again; None
        leaves that to people.
    """

    name: str
    object_type: type[ObjectT]
    status_type: type[StatusT]
    start: StatusT | None = None
    example: Any = None
    auto_resume: timedelta | None = timedelta(hours=1)
    steps: dict[str, Step[ObjectT, StatusT]] = field(default_factory=dict, init=False)
    timeouts: dict[str, dict[str, Timeout[ObjectT, StatusT]]] = field(
        default_factory=dict, init=False
    )
    _mistakes: list[str] = field(default_factory=list, init=False)

    def step(
        self,
        status: StatusT,
        *,
        to: StatusT | Iterable[StatusT],
        retry: Retry | None = None,
        pause_after: int | None = None,
        timeout: timedelta | None = None,
        on_error: StatusT | None = None,
        fatal: type[BaseException] | Iterable[type[BaseException]] = (),
        parallel: int = 100,
    ) -> _Decorator[ObjectT, StatusT]:
        """Declare what runs at `status`, and the statuses that it may lead to.

        An `async def` runs on the event loop, a plain `def` in a thread.

        retry: when to try again after an exception; 1 s, doubling to 5 min, for ever.
        pause_after: the run pauses after so many errors in a row.
        timeout: running longer than this counts as an error.
        on_error: where a run goes that has failed for good, instead of pausing.
        fatal: types of exceptions after which trying again is of no use, as after `Fatal`.
        parallel: how many runs of this step one shard executes at once.
        """

        def register(function: Function[ObjectT, StatusT]) -> None:
            name = self._name_of(status, "step")
            if name in self.steps:
                self._mistakes.append(f"two steps at {name}: keep one, or give one another status")
            step = Step(
                status=status,
                to=self._destinations(status, to),
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                retry=retry or Retry(),
                pause_after=pause_after,
                timeout=timeout,
                on_error=on_error,
                fatal=(Fatal, *((fatal,) if isinstance(fatal, type) else fatal)),
                parallel=parallel,
            )
            self._check_options(name, step)
            self.steps[name] = step

        return _Decorator(register)

    def timeout(
        self,
        status: StatusT,
        *,
        after: After[ObjectT, StatusT],
        to: StatusT | Iterable[StatusT],
        name: str | None = None,
    ) -> _Decorator[ObjectT, StatusT]:
        """Declare what runs when a run has stayed at `status` for so long.

        after: a duration from entering the status, an instant, or a function of the run that
            returns either, or None for no timeout.
        name: the function's name, unless given; it tells several timeouts of a status apart.
        """

        def register(function: Function[ObjectT, StatusT]) -> None:
            known = self.timeouts.setdefault(self._name_of(status, "timeout"), {})
            called = name or str(getattr(function, "__name__", "timeout"))
            if isinstance(after, datetime) and after.tzinfo is None:
                self._mistakes.append(f"timeout {called!r}: give its instant a time zone")
            if not re.fullmatch(r"[^\s=]+", called):
                self._mistakes.append(f"timeout name {called!r}: use no spaces and no '='")
            if called in known:
                where = getattr(status, "name", status)
                self._mistakes.append(f"two timeouts called {called!r} at {where}: name one")
            known[called] = Timeout(
                status=status,
                name=called,
                to=self._destinations(status, to),
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                after=after,
            )

        return _Decorator(register)

    # ---- validation

    def _name_of(self, status: StatusT, what: str) -> str:
        if not isinstance(status, self.status_type):
            self._mistakes.append(
                f"{what} at {status!r}: use a status of {self.status_type.__name__}"
            )
        return getattr(status, "name", str(status))

    def _destinations(
        self, status: StatusT, to: StatusT | Iterable[StatusT]
    ) -> tuple[StatusT, ...]:
        # A StrEnum's member is iterable too, so the single member is looked for first.
        many = (to,) if isinstance(to, Enum | str) else tuple(to)
        for destination in many:
            self._name_of(destination, f"destination of {getattr(status, 'name', status)}")
        if not many:
            where = getattr(status, "name", status)
            self._mistakes.append(f"step at {where} leads nowhere: name its statuses in to=")
        return many

    def _check_options(self, name: str, step: Step[ObjectT, StatusT]) -> None:
        found = self._mistakes
        found += [f"step at {name}: {mistake}" for mistake in step.retry.mistakes()]
        for kind in step.fatal:
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                found.append(f"step at {name}: fatal lists {kind!r}, which is no exception type")
        if step.parallel < 1:
            found.append(f"step at {name}: parallel needs to be 1 or more")
        if step.pause_after is not None and step.pause_after < 1:
            found.append(f"step at {name}: pause_after needs to be 1 or more")
        if step.timeout is not None and step.timeout <= timedelta(0):
            found.append(f"step at {name}: timeout needs to be longer than nothing")
        if step.on_error is not None:
            self._name_of(step.on_error, f"on_error of {name}")
            if step.on_error == step.status:
                found.append(f"step at {name}: on_error leads back to it for ever; name another")

    def validate(self) -> None:
        """Check the definition as a whole.

        Raises InvalidDefinition, with every mistake and its cure.
        """
        mistakes = list(dict.fromkeys(self._mistakes))
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", self.name):
            mistakes.append(
                f"name {self.name!r}: use up to 100 lower-case letters, digits, '-', '_' or '.'"
            )
        mistakes += self._object_mistakes()
        mistakes += self._status_mistakes()
        mistakes += self._graph_mistakes()
        if mistakes:
            raise InvalidDefinition(
                workflow=self.name, mistakes="\n".join(f"- {mistake}" for mistake in mistakes)
            )

    def _object_mistakes(self) -> list[str]:
        try:
            _ = self.adapter
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            [first, *_] = error.message.splitlines()
            return [f"object type {self.object_type!r}: {first}"]
        return []

    def _status_mistakes(self) -> list[str]:
        return [
            f"{name} is another name of {member.name}: give it a value of its own"
            for name, member in self.status_type.__members__.items()
            if name != member.name
        ]

    def _graph_mistakes(self) -> list[str]:
        graph, mistakes = self.graph, []
        if not graph.moves:
            return ["it has no step: declare one with @workflow.step(STATUS, to=…)"]
        if self.start is None and len(graph.starts) != 1:
            which = ", ".join(graph.starts) or "none, as every status follows another"
            return [f"where does it start? Say start=STATUS (candidates: {which})"]
        if self.start is not None and not isinstance(self.start, self.status_type):
            return [f"start {self.start!r}: use a status of {self.status_type.__name__}"]
        if self.start is not None and graph.terminal(self.start.name):
            return [f"nothing follows its start {self.start.name}: add a step there"]
        reachable = graph.reachable(self.start_name)
        for status in graph.statuses:
            if status in graph.moves and status not in reachable:
                mistakes.append(
                    f"{status} is never reached from {self.start_name}: "
                    "lead to it, or remove its step"
                )
        if all(not graph.terminal(status) for status in reachable):
            mistakes.append("no status ends it: lead to one that has no step")
        return mistakes

    # ---- what the engine asks

    @property
    def graph(self) -> Graph:
        graph = Graph(tuple(self.status_type.__members__))
        for name, step in self.steps.items():
            graph.add(name, (s.name for s in step.to if isinstance(s, Enum)))
            if isinstance(step.on_error, Enum):
                graph.add(name, (step.on_error.name,))
        for name, timeouts in self.timeouts.items():
            for timeout in timeouts.values():
                graph.add(name, (s.name for s in timeout.to if isinstance(s, Enum)))
        return graph

    @property
    def start_name(self) -> str:
        return self.start.name if self.start is not None else self.graph.starts[0]

    @cached_property
    def adapter(self) -> TypeAdapter[ObjectT]:
        return TypeAdapter(self.object_type)

    def terminal(self, status: str) -> bool:
        """Whether nothing follows the status of this name."""
        return status not in self.steps and status not in self.timeouts

    def member(self, status: str) -> StatusT:
        """The status of this name. Raises UnknownStatus."""
        try:
            return self.status_type[status]
        except KeyError:
            raise UnknownStatus(
                workflow=self.name,
                status=status,
                known=", ".join(self.status_type.__members__),
            ) from None

    def check_start(self, status: str) -> StatusT:
        """Raises UnknownStatus or TerminalStart unless a run can start there."""
        member = self.member(status or self.start_name)
        if self.terminal(member.name):
            raise TerminalStart(workflow=self.name, status=member.name)
        return member

    def load(self, data: bytes) -> ObjectT:
        """An object from its JSON. Raises InvalidObject, naming the fields that are wrong."""
        try:
            # Stored under the names of its fields; others may write their aliases.
            return self.adapter.validate_json(data, by_alias=True, by_name=True)
        except ValidationError as error:
            raise self._invalid(error) from error

    def dump(self, value: ObjectT) -> bytes:
        """The JSON of an object, as it will be read again. It may turn out not to fit."""
        return self.adapter.dump_json(value, round_trip=True, warnings=False)

    def plain(self, value: ObjectT) -> Any:
        """An object as plain data that JSON can hold. Raises InvalidObject."""
        try:
            return self.adapter.dump_python(value, mode="json", round_trip=True, warnings=False)
        except PydanticSerializationError as error:
            raise self._untold(error) from error

    def dump_checked(self, value: Any) -> bytes:
        """The JSON of an object, given as plain data that JSON can hold. Raises InvalidObject."""
        try:
            return self.dump(self.load(to_json(value)))
        except PydanticSerializationError as error:
            raise self._untold(error) from error

    def _untold(self, error: PydanticSerializationError) -> InvalidObject:
        fields = [{"field": "object", "message": str(error)}]
        return InvalidObject(workflow=self.name, detail=str(error), errors=fields)

    def _invalid(self, error: ValidationError) -> InvalidObject:
        fields = [
            {"field": ".".join(map(str, item["loc"])) or "object", "message": item["msg"]}
            for item in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        detail = "; ".join(f"{item['field']}: {item['message']}" for item in fields)
        return InvalidObject(workflow=self.name, detail=detail, errors=fields)

    def mermaid(self, direction: Direction = "TB") -> str:
        """A state diagram of the workflow, as mermaid text."""
        return self.graph.mermaid(self.start_name, direction)
