"""What docs/events.md shows is what happens."""

import contextlib
import io
import re

import pytest

from streamwf.broadcast import ROOM
from streamwf.moves import Dropped, Gap, Missing, Move, Watched
from streamwf.overview import BucketView, Overview, WorkflowOverview
from streamwf.record import MAX_OFFSETS
from streamwf.retelling import FARTHEST
from streamwf.watching import KEEPALIVE
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
TOLD = {"run": Move, "gap": Gap, "missing": Missing, "dropped": Dropped}


def test_the_example_prints_what_the_page_shows() -> None:
    [example], [shown] = blocks("python", PAGE), blocks("text", PAGE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example.text, "events.py", "exec"), {"__name__": "events"})
    assert printed.getvalue() == shown.text


@pytest.mark.parametrize("event", TOLD)
def test_what_comes_is_in_the_table(event: str) -> None:
    [row] = re.findall(rf"^\| `{event}` \| (.*?) \|", PAGE, re.M)
    assert tuple(re.findall(r"`(\w+)`", row)) == TOLD[event].__struct_fields__


def test_every_parameter_and_part_is_there() -> None:
    names = [*Watched.model_fields, "last_event_id"]
    names += [*BucketView.model_fields.keys() - {"at"}, "lag", "buckets", "missing"]
    for name in names:
        assert f"`{name}`" in PAGE
    assert {"lag", "buckets"} <= WorkflowOverview.model_fields.keys()
    assert "missing" in Overview.model_fields


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"After {KEEPALIVE:.0f}\nseconds" in PAGE
    assert f"the last {FARTHEST:,} events" in PAGE
    assert f"than {MAX_OFFSETS} events" in PAGE
    assert f"{ROOM:,} moves may wait" in PAGE
