"""docs/limits.md has the limits that the code has, and names errors that there are."""

import re

import pytest

from streamwf import errors
from streamwf.adapters.problems import status_of_class
from streamwf.adapters.web import reading
from streamwf.broadcast import ROOM
from streamwf.callback_views import LONGEST_WAIT
from streamwf.dispatch import PARALLEL
from streamwf.events import MAX_FOREIGN_ID, MAX_ID
from streamwf.letter_views import MAX_LETTERS
from streamwf.measures import MAX_ERRORS
from streamwf.open_letters import MAX_LISTED
from streamwf.pump import AHEAD
from streamwf.record import (
    MAX_CALLS,
    MAX_CHILDREN,
    MAX_HELD,
    MAX_OFFSETS,
    MAX_REASON,
    MAX_REQUESTS,
    MAX_TARGETS,
)
from streamwf.recurring import MAX_CATCH_UP
from streamwf.schedule_views import MAX_BACKFILL
from streamwf.settings import Settings
from streamwf.shard import MAX_QUEUED, MAX_UNFOLDED
from streamwf.telling import MAX_MESSAGE, MAX_TRACEBACK
from streamwf.timetable import DUE_LIMIT
from streamwf.views import MAX_BULK, MAX_PAGE, MAX_VALUE, MAX_VALUES
from tests.docs.readme import ROOT

PAGE = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")


def row(begin: str) -> str:
    [found] = [line for line in PAGE.splitlines() if line.startswith(f"| {begin}")]
    return found


@pytest.mark.parametrize(
    ("begin", "limits"),
    [
        ("a record of the log", [Settings.model_fields["max_record_bytes"].default, 50_000_000]),
        ("the body of a request", [reading.SLACK]),
        ("the time that a body takes", [int(reading.BODY_TIME)]),
        ("a foreign id", [MAX_FOREIGN_ID]),
        ("the id or the run id", [MAX_ID]),
        ("a reason", [MAX_REASON]),
        ("the error of a step", [MAX_MESSAGE, MAX_TRACEBACK]),
        ("callbacks that wait", [MAX_CALLS, MAX_HELD]),
        ("runs that one correlation", [MAX_TARGETS]),
        ("children of a run", [MAX_CHILDREN]),
        ("objects of children", [MAX_HELD]),
        ("places in the log", [MAX_OFFSETS]),
        ("ids of requests", [MAX_REQUESTS]),
        ("runs on a page", [MAX_PAGE]),
        ("runs that one part", [MAX_BULK]),
        ("values of one filter", [MAX_VALUES, MAX_VALUE]),
        ("dead letters on a page", [MAX_LETTERS, MAX_LISTED]),
        ("slots that one backfill", [MAX_BACKFILL]),
        ("slots that a schedule", [MAX_CATCH_UP]),
        ("how long a callback", [int(LONGEST_WAIT / 86_400)]),
        ("who may watch", [Settings.model_fields["watchers"].default]),
        ("moves that wait", [ROOM]),
        ("types of errors", [MAX_ERRORS]),
        ("jobs of a shard", [MAX_QUEUED]),
        ("results of a shard", [MAX_UNFOLDED]),
        ("runs of one step", [PARALLEL]),
        ("threads for steps", [Settings.model_fields["threads"].default]),
        ("due entries", [DUE_LIMIT]),
        ("messages that a connector reads ahead", [AHEAD]),
    ],
)
def test_limits_are_those_of_the_code(begin: str, limits: list[int]) -> None:
    for limit in limits:
        assert re.search(rf"(?<![\d,]){limit:,}(?!,?\d)", row(begin))


def test_errors_are_there_and_have_the_status_that_is_told() -> None:
    told = re.findall(r"`([A-Z]\w+)`(?:[^|`]*?, |; over HTTP )(\d{3})", PAGE)
    assert len(told) > 15
    for name, status in told:
        assert status_of_class(getattr(errors, name)) == int(status), name
    for name in re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", PAGE):
        assert hasattr(errors, name)
