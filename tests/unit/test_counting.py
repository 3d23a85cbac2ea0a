"""Numbers and what they count agree."""

import pytest

from streamwf.counting import Sentence, counted
from streamwf.errors import LiveRunsInUnknownStatus, PartitionMismatch, WorkersRunning


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_234, "1,234 rows")]
)
def test_a_noun_agrees_with_its_number(number: int, told: str) -> None:
    assert counted(number, "row") == told


@pytest.mark.parametrize(("number", "told"), [(1, "1 shard is"), (8, "8 shards are")])
def test_so_does_what_is_given_in_both_forms(number: int, told: str) -> None:
    assert counted(number, "shard is/shards are") == told


def test_errors_agree_with_their_numbers() -> None:
    alone = PartitionMismatch(topic="t", actual=1, expected=8)
    assert "has 1 partition, but 8 are asked for" in str(alone)
    assert str(WorkersRunning(count=1, app_id="a")).startswith("1 worker is running")
    assert str(WorkersRunning(count=2, app_id="a")).startswith("2 workers are running")
    live = LiveRunsInUnknownStatus(count=1_000, workflow="w", status="LOST")
    assert str(live).startswith("1,000 live runs are in status 'LOST'")


def test_all_else_is_filled_in_as_python_does() -> None:
    fields = {"name": "it's", "number": 1_000, "braces": "{0}"}
    template = "{name!r} {number} {braces} {{x}}"
    assert Sentence().vformat(template, (), fields) == template.format(**fields)
