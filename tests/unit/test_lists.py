"""Which runs come after a cursor, and where a filter begins and ends."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from streamwf.errors import InvalidDefinition
from streamwf.lists import Cursor, Following, Selection, rest_of
from streamwf.record import FIRST_KEY, Record
from streamwf.views import Filter, Order
from tests.support import NOW, record
from tests.unit.sample import orders

HOUR = timedelta(hours=1)


def run(foreign_id: str, run_id: str, created: int = 0, updated: int = 0) -> Record:
    return record(
        foreign_id=foreign_id,
        run_id=run_id,
        created_at=NOW + created * HOUR,
        updated_at=NOW + updated * HOUR,
    )


def following(order: Order, after: Cursor | None, *runs: Record) -> list[str]:
    follows = Following(order, after)
    return [each.run_id for each in runs if follows("w", each)]


def test_without_a_cursor_all_follow() -> None:
    assert following("created", None, run("a", "1"), run("b", "2")) == ["1", "2"]


def test_in_the_order_of_foreign_ids_the_others_are_compared() -> None:
    runs = [run("a", "0"), run("b", "1"), run("c", "4")]
    assert following("foreign_id", Cursor("foreign_id", "w", "b", "2", NOW), *runs) == ["1", "4"]
    assert following("-foreign_id", Cursor("-foreign_id", "w", "b", "2", NOW), *runs) == ["0", "1"]


def test_of_the_foreign_id_at_the_border_what_stands_behind_it_follows() -> None:
    # The clock of whoever asked for the newest was behind.
    runs = [run("b", "3", created=0), run("b", "2", created=2), run("b", "1", created=3)]
    after = Cursor("foreign_id", "w", "b", "2", NOW + 2 * HOUR)
    assert [each.run_id for each in rest_of(runs, after)] == ["1"]


def test_what_is_older_follows_even_if_the_run_at_the_border_is_gone() -> None:
    runs = [run("b", "4", created=4), run("b", "2", created=2), run("b", "1", created=1)]
    gone = Cursor("foreign_id", "w", "b", "3", NOW + 3 * HOUR)
    assert [each.run_id for each in rest_of(runs, gone)] == ["2", "1"]


@pytest.mark.parametrize(("order", "after"), [("created", ["3"]), ("-created", ["1"])])
def test_instants_are_compared(order: Order, after: list[str]) -> None:
    runs = [run("a", "3", created=3), run("b", "2", created=2), run("c", "1", created=1)]
    assert following(order, Cursor(order, "w", "b", "2", NOW + 2 * HOUR), *runs) == after


def test_at_the_same_instant_the_rest_decides() -> None:
    runs = [run("a", "1"), run("b", "2"), run("b", "3"), run("c", "4")]
    assert following("created", Cursor("created", "w", "b", "2", NOW), *runs) == ["3", "4"]
    assert following("-created", Cursor("-created", "w", "b", "3", NOW), *runs) == ["1", "2"]


def test_what_changed_since_the_first_page_is_left_out() -> None:
    runs = [run("a", "1", updated=2), run("b", "2", updated=4), run("c", "3", updated=3)]
    cursor = Cursor("updated", "w", "x", "0", NOW + HOUR, until=NOW + 3 * HOUR)
    assert following("updated", cursor, *runs) == ["1", "3"]


@pytest.mark.parametrize(
    ("given", "start"),
    [
        ({}, FIRST_KEY),
        ({"prefix": "ab"}, "ab"),
        ({"foreign_id": "b"}, "b"),
        ({"foreign_id": "abc", "prefix": "ab"}, "abc"),
    ],
)
def test_where_a_filter_begins(given: dict[str, str], start: str) -> None:
    assert Selection(Filter(**given), orders()).start == start  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "within", "beyond"),
    [
        ({"prefix": "ab"}, ["ab", "ab\0r", "abz", "abz\0r"], ["ac", "b"]),
        ({"foreign_id": "ab"}, ["ab", "ab\0r"], ["ab ", "abz"]),
        ({}, ["a", "\U000e0001"], []),
    ],
)
def test_where_a_filter_ends(given: dict[str, str], within: list[str], beyond: list[str]) -> None:
    stop = Selection(Filter(**given), orders()).stop  # type: ignore[arg-type]
    assert all(key < stop for key in within)
    assert all(key >= stop for key in beyond)


def test_a_foreign_id_that_does_not_begin_as_asked_is_none() -> None:
    assert Selection(Filter(prefix="b", foreign_id="ab"), orders()).none
    assert not Selection(Filter(prefix="a", foreign_id="ab"), orders()).none


@pytest.mark.parametrize("carried", [b"[" * 5_000 + b"]" * 5_000, b"1e999", b"nope", b'"ann"'])
def test_an_object_that_can_not_be_read_is_not_found(carried: bytes) -> None:
    workflow = orders()
    workflow.search = ("customer",)
    finds = Selection(Filter(search={"customer": ["ann"]}), workflow).finds
    assert not finds(record(object=msgspec.Raw(carried)))
    assert finds(record(object=msgspec.Raw(b'{"customer":"ann"}')))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"search": ("customer", "address.city", "größe_2")}, None),
        ({"search": "customer"}, "search is a text: give a tuple, like search=('customer',)"),
        ({"search": ("",)}, "search '': use names of fields, like 'customer' or 'address.city'"),
        ({"search": ("a..b",)}, "search 'a..b': use names of fields"),
        ({"search": ("a b", "c=d")}, "search 'c=d': use names of fields"),
    ],
)
def test_what_runs_are_searched_by_is_checked(options: dict[str, Any], told: str | None) -> None:
    workflow = orders()
    for name, value in options.items():
        setattr(workflow, name, value)
    if told is None:
        workflow.validate()
        return
    with pytest.raises(InvalidDefinition) as refused:
        workflow.validate()
    assert told in str(refused.value)
