"""Defining a workflow: a typed status machine, checked as a whole before anything runs."""

import inspect
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import cached_property
from typing import Any, Generic, TypeVar, overload

from pydantic import TypeAdapter

from . import validation
from .connector import Connectable, Connector
from .declared import (
    After,
    Callback,
    CallbackDecorator,
    Children,
    FunctionDecorator,
    Handler,
    Hook,
    HookDecorator,
    HookOn,
    Run,
    Step,
    StepResult,
    Timeout,
)
from .errors import Fatal, InvalidDefinition, TerminalStart, UnknownStatus
from .events import correlation_of, derived_id
from .graph import Direction, Graph
from .objects import Objects
from .pacing import Breaker, Rate
from .record import CORRELATION
from .recurring import Recurring, Schedule
from .retry import Retry

__all__ = ["Run", "StepResult", "Workflow"]

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)
PayloadT = TypeVar("PayloadT")

_AT_ONCE = timedelta(0)


@dataclass(eq=False)
class Workflow(
    Connectable[ObjectT, StatusT], Recurring[ObjectT, StatusT], Generic[ObjectT, StatusT]
):
    """A named, typed status machine.

    name: lower-case letters, digits, `-`, `_` and `.`; it names the topics too.
    object_type: what a run carries: anything that pydantic's TypeAdapter takes.
    status_type: the enum of its statuses. Their names are what is stored.
    start: where a run starts unless told; the status that no other leads to, unless given.
    example: data of a run that `streamwf dev` starts for you to look at.
    auto_resume: how long a run that was paused by errors waits until it is tried again; None
        leaves that to people.
    version: which definition this is, for every event that it writes; made from its statuses and
        what leads where, unless given.
    renamed: statuses of former versions, by the names that they had, and what they are now.
    retention: how long a run that has ended is kept; None for ever.
    custom_delete: makes of an object what is left of it when its data is deleted; nothing, unless
        given.
    search: fields of the object that runs can be found by, like `customer` or `address.city`.
    encrypt: whether objects are encrypted in the log and the tables, under a key for each run.
    debug: whether each event that changes a run is logged.
    """

    name: str
    object_type: type[ObjectT]
    status_type: type[StatusT]
    start: StatusT | None = None
    example: Any = None
    auto_resume: timedelta | None = timedelta(hours=1)
    version: str = field(default="", kw_only=True)
    renamed: Mapping[str, StatusT] = field(default_factory=dict, kw_only=True)
    retention: timedelta | None = field(default=None, kw_only=True)
    custom_delete: Callable[[ObjectT], ObjectT] | None = field(default=None, kw_only=True)
    search: tuple[str, ...] = field(default=(), kw_only=True)
    encrypt: bool = field(default=False, kw_only=True)
    debug: bool = field(default=False, kw_only=True)
    steps: dict[str, Step[ObjectT, StatusT]] = field(default_factory=dict, init=False)
    timeouts: dict[str, dict[str, Timeout[ObjectT, StatusT]]] = field(
        default_factory=dict, init=False
    )
    callbacks: dict[str, dict[str, Callback[ObjectT, StatusT]]] = field(
        default_factory=dict, init=False
    )
    hooks: dict[HookOn, Hook[ObjectT, StatusT]] = field(default_factory=dict, init=False)
    connectors: dict[str, Connector[ObjectT, StatusT]] = field(default_factory=dict, init=False)
    schedules: dict[str, Schedule[ObjectT, StatusT]] = field(default_factory=dict, init=False)
    #: All that was declared, even where something else has taken its place: that is a mistake.
    handlers: list[Handler[ObjectT, StatusT]] = field(default_factory=list, init=False, repr=False)
    noted: list[str] = field(default_factory=list, init=False, repr=False)
    _found_start: tuple[int, str] = field(default=(-1, ""), init=False, repr=False, compare=False)

    # ---- declaring

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
        lag: timedelta = _AT_ONCE,
        lag_alert: timedelta | None = None,
        rate: Rate | None = None,
        priority: Callable[[Run[ObjectT, StatusT]], int] | None = None,
        breaker: Breaker | None = None,
        children: Children | None = None,
    ) -> FunctionDecorator[ObjectT, StatusT]:
        """Declare what runs at `status`, and the statuses that it may lead to.

        An `async def` runs on the event loop, a plain `def` in a thread.

        retry: when to try again after an exception; 1 s, doubling to 5 min, for ever.
        pause_after: the run pauses after so many errors in a row.
        timeout: running longer than this counts as an error.
        on_error: where a run goes that has failed for good, instead of pausing.
        fatal: types of exceptions after which trying again is of no use, as after `Fatal`.
        parallel: how many runs of this step one shard executes at once.
        lag: how long after its status was entered it runs.
        lag_alert: a step that starts later than so long after it was due is told of.
        rate: how many runs of this step are started in a time.
        priority: of two runs that wait for this step, the one for which this is greater goes
            first.
        breaker: after how many failures in a row the step is held for all runs.
        children: run only once all of the runs that this one has started have ended, or any of
            them, or each time that one has.
        """

        def register(function: Callable[..., Any]) -> None:
            where = f"step at {_named(status)}"
            if _named(status) in self.steps:
                self.noted.append(
                    f"two steps at {_named(status)}: keep one, or give one another status"
                )
            step = Step(
                where=where,
                status=status,
                to=_many(to),
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                retry=retry or Retry(),
                pause_after=pause_after,
                limit=timeout,
                on_error=on_error,
                fatal=(Fatal, *((fatal,) if isinstance(fatal, type) else fatal)),
                parallel=parallel,
                lag=lag,
                lag_alert=lag_alert,
                rate=rate,
                priority=priority,
                breaker=breaker,
                children=children,
            )
            self.steps[_named(status)] = step
            self.handlers.append(step)

        return FunctionDecorator(register)

    def timeout(
        self,
        status: StatusT,
        *,
        after: After[ObjectT, StatusT],
        to: StatusT | Iterable[StatusT],
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
    ) -> FunctionDecorator[ObjectT, StatusT]:
        """Declare what runs when a run has stayed at `status` for so long.

        after: a duration from entering the status, an instant, or a function of the run that
            returns either, or None for no timeout.
        name: the function's name, unless given; it tells several timeouts of a status apart.
        retry, timeout: as for a step.
        """

        def register(function: Callable[..., Any]) -> None:
            called = name or _name_of(function)
            self._add(
                self.timeouts,
                Timeout(
                    where=f"timeout {called!r} at {_named(status)}",
                    status=status,
                    name=called,
                    to=_many(to),
                    function=function,
                    is_async=inspect.iscoroutinefunction(function),
                    retry=retry or Retry(),
                    limit=timeout,
                    after=after,
                ),
            )

        return FunctionDecorator(register)

    @overload
    def callback(
        self,
        status: StatusT,
        *,
        to: StatusT | Iterable[StatusT],
        payload: type[PayloadT],
        name: str | None = None,
        correlate: Callable[[ObjectT], str | None] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
    ) -> CallbackDecorator[ObjectT, StatusT, PayloadT]: ...

    @overload
    def callback(
        self,
        status: StatusT,
        *,
        to: StatusT | Iterable[StatusT],
        name: str | None = None,
        correlate: Callable[[ObjectT], str | None] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
    ) -> CallbackDecorator[ObjectT, StatusT, bytes]: ...

    def callback(
        self,
        status: StatusT,
        *,
        to: StatusT | Iterable[StatusT],
        payload: type[Any] = bytes,
        name: str | None = None,
        correlate: Callable[[ObjectT], str | None] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
    ) -> CallbackDecorator[ObjectT, StatusT, Any]:
        """Declare what an answer from outside does to a run that waits for it at `status`.

        payload: the type of what comes: bytes, str, or anything that pydantic's TypeAdapter takes.
        name: what it is called by, the function's name unless given; it tells several callbacks
            of a status apart.
        correlate: a value of the object by which the outside knows the run, if neither by its
            foreign id nor by its run id.
        retry, timeout: as for a step.
        """

        def register(function: Callable[..., Any]) -> None:
            called = name or _name_of(function)
            where = f"callback {called!r} at {_named(status)}"
            self._add(
                self.callbacks,
                Callback(
                    where=where,
                    status=status,
                    name=called,
                    to=_many(to),
                    function=function,
                    is_async=inspect.iscoroutinefunction(function),
                    retry=retry or Retry(),
                    limit=timeout,
                    payload=self._payload(where, payload),
                    correlate=correlate,
                ),
            )

        return CallbackDecorator(register)

    def _payload(self, where: str, kind: type[Any]) -> TypeAdapter[Any] | None:
        try:
            return None if kind is bytes else TypeAdapter(kind)
        except validation.Untaken as error:
            self.noted.append(validation.of_type(f"{where}: payload", kind, error))
            return None

    def _add(self, known: dict[str, dict[str, Any]], mover: Any) -> None:
        status = _named(mover.status)
        at_status = known.setdefault(status, {})
        what = type(mover).__name__.lower()
        self.noted += validation.of_name(f"{what} name {mover.name!r}", mover.name)
        if mover.name in at_status:
            self.noted.append(
                f"two {what}s called {mover.name!r} at {status}: give one another with name="
            )
        at_status[mover.name] = mover
        self.handlers.append(mover)

    @property
    def on_pause(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare what runs after a run has been paused.

        Hooks run after the change is durable, are tried again after errors, and change nothing.
        """
        return self._hook(HookOn.PAUSE)

    @property
    def on_resume(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare what runs after a run has been resumed, by people or by itself."""
        return self._hook(HookOn.RESUME)

    @property
    def on_cancel(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare what runs after a run has been cancelled."""
        return self._hook(HookOn.CANCEL)

    @property
    def on_complete(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare what runs after a run has completed."""
        return self._hook(HookOn.COMPLETE)

    @property
    def on_data_deleted(self) -> HookDecorator[ObjectT, StatusT]:
        """Declare what runs after the data of a run was deleted; its object is what is left."""
        return self._hook(HookOn.DATA_DELETED)

    def _hook(self, on: HookOn) -> HookDecorator[ObjectT, StatusT]:
        def register(function: Callable[..., Any]) -> None:
            if on in self.hooks:
                self.noted.append(f"two hooks on_{on}: keep one")
            hook = self.hooks[on] = Hook(
                where=f"hook on_{on}",
                on=on,
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                retry=Retry(),
            )
            self.handlers.append(hook)

        return HookDecorator(register)

    def validate(self) -> None:
        """Check the definition as a whole.

        Raises InvalidDefinition, with every mistake and its cure.
        """
        found = list(dict.fromkeys([*self.noted, *validation.mistakes(self)]))
        if found:
            raise InvalidDefinition(
                workflow=self.name, mistakes="\n".join(f"- {mistake}" for mistake in found)
            )

    # ---- what the engine asks

    @property
    def graph(self) -> Graph:
        graph = Graph(tuple(self.status_type.__members__))
        for name, step in self.steps.items():
            graph.add(name, (s.name for s in step.to if isinstance(s, Enum)))
            if isinstance(step.on_error, Enum):
                graph.add(name, (step.on_error.name,))
        for known in (self.timeouts, self.callbacks):
            for name, movers in known.items():
                for mover in movers.values():
                    graph.add(name, (s.name for s in mover.to if isinstance(s, Enum)))
        return graph

    @cached_property
    def definition(self) -> str:
        """The version that its events carry."""
        if self.version:
            return self.version
        told = json.dumps([self.graph.statuses, self.graph.moves], sort_keys=True)
        return f"{zlib.crc32(told.encode()):08x}"

    @property
    def start_name(self) -> str:
        if self.start is not None:
            return self.start.name
        # Asked for every event of a run that was triggered without a status, and the graph is made
        # anew each time: it is known until something more is declared.
        declared, name = self._found_start
        if declared != len(self.handlers):
            name = self.graph.starts[0]
            self._found_start = len(self.handlers), name
        return name

    @cached_property
    def objects(self) -> Objects[ObjectT]:
        return Objects(self.name, self.object_type)

    @property
    def masks(self) -> bool:
        """Whether there are masked fields: in its objects, or in what its callbacks take."""
        return self.objects.masks or any(
            callback.masking is not None and callback.masking.masks
            for at_status in self.callbacks.values()
            for callback in at_status.values()
        )

    def correlation(self, callback: str, value: str) -> str:
        """What a callback's correlation value is kept under; it may be no business of the log's."""
        told = derived_id(CORRELATION, self.name, value) if self.encrypt else value
        return correlation_of(callback, told)

    def current(self, status: str) -> str:
        """What a status that a record has is called now. A run that was triggered without one is
        at the start."""
        former = self.renamed.get(status)
        return (status or self.start_name) if former is None else former.name

    def terminal(self, status: str) -> bool:
        """Whether nothing follows the status of this name."""
        return not (status in self.steps or status in self.timeouts or status in self.callbacks)

    def member(self, status: str) -> StatusT:
        """The status of this name. Raises UnknownStatus."""
        try:
            return self.status_type[self.current(status)]
        except KeyError:
            raise UnknownStatus(
                workflow=self.name,
                status=status,
                known=", ".join(self.status_type.__members__),
            ) from None

    def check_start(self, status: str) -> StatusT:
        """Raises UnknownStatus or TerminalStart unless a run can start there."""
        member = self.member(status)
        if self.terminal(member.name):
            raise TerminalStart(workflow=self.name, status=member.name)
        return member

    def load(self, data: bytes) -> ObjectT:
        """An object from its JSON. Raises InvalidObject, naming the fields that are wrong."""
        return self.objects.load(data)

    def dump(self, value: ObjectT) -> bytes:
        """The JSON of an object, as it will be read again. It may turn out not to fit."""
        return self.objects.dump(value)

    def plain(self, value: ObjectT) -> Any:
        """An object as plain data that JSON can hold. Raises InvalidObject."""
        return self.objects.plain(value)

    def dump_checked(self, value: Any) -> bytes:
        """The JSON of an object, given as plain data that JSON can hold. Raises InvalidObject."""
        return self.objects.dump_checked(value)

    def mermaid(self, direction: Direction = "TB") -> str:
        """A state diagram of the workflow, as mermaid text."""
        return self.graph.mermaid(self.start_name, direction)


def _named(status: Any) -> str:
    return str(getattr(status, "name", status))


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _many(to: StatusT | Iterable[StatusT]) -> tuple[StatusT, ...]:
    # A StrEnum's member is iterable too, so the single member is looked for first.
    return (to,) if isinstance(to, Enum | str) else tuple(to)
