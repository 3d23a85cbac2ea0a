"""Declaring schedules: functions that make the object of a run for each slot. Pure."""

import inspect
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, overload

from .cron import Cron
from .declared import Handler
from .errors import InvalidCron
from .events import MAX_FOREIGN_ID
from .retry import Retry

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: What happens at a slot while the run of the one before is in progress: it is left out; or its run
#: is started all the same. With `start` each slot's run has a foreign id of its own.
Overlap: TypeAlias = Literal["skip", "start"]

#: What happens to slots that were missed: all are left out, but for the latest, or so many of them.
CatchUp: TypeAlias = Literal["none", "latest"] | int

MAX_CATCH_UP = 1_000

#: What a schedule may be called.
NAME = r"\w[\w.-]{0,99}"
NAME_RULE = "up to 100 letters, digits, '-', '_' or '.'"

#: A foreign id that leaves room for a slot after it.
LONGEST_FOREIGN_ID = MAX_FOREIGN_ID - len("@2030-01-01T00:00:00Z")

AsyncSlotFunction: TypeAlias = Callable[[datetime], Coroutine[Any, Any, ObjectT | None]]
SlotFunction: TypeAlias = Callable[[datetime], ObjectT | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Handler[ObjectT, StatusT]):
    """When runs are started, and what makes their objects."""

    name: str
    cron: str
    timezone: str
    foreign_id: str
    at: StatusT | None
    overlap: Overlap
    catch_up: CatchUp


def mistakes(schedule: Schedule[Any, Any]) -> Iterator[str]:
    """What is wrong with a schedule but for the status that its runs start at."""
    if not re.fullmatch(NAME, schedule.name):
        yield f"its name has {NAME_RULE}"
    try:
        Cron.parse(schedule.cron, schedule.timezone)
    except InvalidCron as error:
        yield f"{error.field} of {error.text!r}: {error.why}"
    foreign_id = schedule.foreign_id
    if not 1 <= len(foreign_id) <= LONGEST_FOREIGN_ID or not foreign_id.isprintable():
        yield f"its foreign id has 1 to {LONGEST_FOREIGN_ID} characters, and no control characters"
    if schedule.overlap not in get_args(Overlap):
        yield f'overlap is {schedule.overlap!r}: use "skip" or "start"'
    if not _is_catch_up(schedule.catch_up):
        yield f'catch_up is {schedule.catch_up!r}: use "none", "latest", or 1 to {MAX_CATCH_UP:,}'
    elif why := conflict(schedule.overlap, schedule.catch_up):
        yield f"catch_up is {schedule.catch_up}: {why}"


def conflict(overlap: Overlap, catch_up: CatchUp) -> str:
    """Why the two can't go together; empty if they can."""
    if overlap == "start" or catch_up in ("none", "latest", 1):
        return ""
    return (
        'slots that are made up for are started at once, and with overlap "skip" all but the first '
        'are left out: use overlap "start", or catch_up "latest"'
    )


def _is_catch_up(given: object) -> bool:
    if isinstance(given, int) and not isinstance(given, bool):
        return 1 <= given <= MAX_CATCH_UP
    return given in ("none", "latest")


class SlotDecorator(Generic[ObjectT]):
    """Registers a schedule's function and hands it back as it was, with its type."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(self, function: AsyncSlotFunction[ObjectT]) -> AsyncSlotFunction[ObjectT]: ...

    @overload
    def __call__(self, function: SlotFunction[ObjectT]) -> SlotFunction[ObjectT]: ...

    def __call__(
        self, function: AsyncSlotFunction[ObjectT] | SlotFunction[ObjectT]
    ) -> AsyncSlotFunction[ObjectT] | SlotFunction[ObjectT]:
        self._register(function)
        return function


class Recurring(Generic[ObjectT, StatusT]):
    """The part of a workflow that declares its schedules."""

    schedules: dict[str, Schedule[ObjectT, StatusT]]
    handlers: list[Handler[ObjectT, StatusT]]
    noted: list[str]

    def schedule(
        self,
        name: str,
        cron: str,
        *,
        timezone: str = "UTC",
        foreign_id: str | None = None,
        at: StatusT | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
    ) -> SlotDecorator[ObjectT]:
        """Declare a schedule: the function is called for each slot, and makes its run's object.

        It is given the slot, in the schedule's time zone, and returns the object; None leaves the
        slot out. It may be called again for the same slot; the run is started once.

        cron: five fields, `@daily` and the like, or `@every 90s`; see `streamwf.cron`.
        timezone: an IANA name; where clocks change, slots follow the clock on the wall.
        foreign_id: of the runs; the schedule's name, unless given.
        at: the status that they start at, if not the workflow's start.
        overlap: what happens while the run of an earlier slot is in progress: "skip" leaves the
            slot out, "start" starts each run under a foreign id of its own, `foreign_id@slot`.
        catch_up: what happens to slots that were missed while nobody worked or the schedule was
            paused: "none" leaves them out, "latest" makes up for the last of them, a number for
            the last so many, if `overlap` is "start".
        """

        def register(function: Callable[..., Any]) -> None:
            if name in self.schedules:
                self.noted.append(f"two schedules called {name!r}: give one another name")
            self.schedules[name] = Schedule(
                where=f"schedule {name!r}",
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                retry=Retry(),
                name=name,
                cron=cron,
                timezone=timezone,
                foreign_id=name if foreign_id is None else foreign_id,
                at=at,
                overlap=overlap,
                catch_up=catch_up,
            )
            self.handlers.append(self.schedules[name])

        return SlotDecorator(register)
