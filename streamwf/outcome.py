"""What a step or a timeout may return apart from a status."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class Skip:
    """Nothing changes. The run waits for the next event: a callback, a timeout, a resume."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The object is saved and the step runs again, now or after a while."""

    after: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Pause:
    """The object is saved and the run pauses until somebody resumes it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The object is saved and the run ends as cancelled."""

    reason: str = ""


Outcome: TypeAlias = Skip | Repeat | Pause | Cancel

StatusT = TypeVar("StatusT")

#: What a step returns: one of its declared statuses, or an outcome.
Result: TypeAlias = StatusT | Outcome
