"""What becomes of an event when it is folded."""

from enum import StrEnum

from .record import Record


class Verdict(StrEnum):
    """What became of an event."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    RUN_IN_PROGRESS = "run_in_progress"
    NO_SUCH_RUN = "no_such_run"
    STALE = "stale"
    STATE_FORBIDS = "state_forbids"
    OTHER_VERSION = "other_version"
    FULL = "full"
    HANDED_ON = "handed_on"

    # As that of State.
    __hash__ = str.__hash__


#: What an event may make of a record: another, none any more, or nothing that it could.
Changed = Record | Verdict | None
