"""Merging pages and counts."""

from datetime import UTC, datetime, timedelta

import pytest

from streamwf.adapters.web.merging import merged_page, summed
from streamwf.lists import cursor_of, read_cursor
from streamwf.record import State
from streamwf.views import HeldView, Order, Page, RunView, StepView, WorkflowView

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def run(
    foreign_id: str, run_id: str = "r", version: int = 1, workflow: str = "w", at: int = 0
) -> RunView:
    return RunView(
        workflow=workflow,
        foreign_id=foreign_id,
        run_id=f"{foreign_id}-{run_id}",
        status="A",
        state=State.RUNNING,
        version=version,
        created_at=NOW - timedelta(hours=at),
        updated_at=NOW + timedelta(hours=at),
    )


def ids(page: Page) -> list[str]:
    return [each.run_id for each in page.runs]


def test_runs_of_a_foreign_id_stay_as_their_worker_has_them() -> None:
    first, second = Page(runs=[run("a", "9"), run("a", "1")]), Page(runs=[run("b")])
    assert ids(merged_page([second, first], "foreign_id", 10, [])) == ["a-9", "a-1", "b-r"]


def test_workflows_come_before_foreign_ids() -> None:
    first = Page(runs=[run("a", workflow="x")])
    second = Page(runs=[run("z", workflow="w")])
    assert ids(merged_page([first, second], "foreign_id", 10, [])) == ["z-r", "a-r"]


def test_the_cursor_is_after_what_is_shown() -> None:
    pages = [Page(runs=[run("a"), run("c")]), Page(runs=[run("b"), run("d")])]
    page = merged_page(pages, "foreign_id", 3, [])
    assert ids(page) == ["a-r", "b-r", "c-r"]
    cursor = read_cursor(page.cursor, "foreign_id")
    assert cursor is not None
    assert cursor[:4] == ("foreign_id", "w", "c", "c-r")


@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("foreign_id", "abcd"),
        ("-foreign_id", "dcba"),
        ("created", "badc"),
        ("-created", "cdab"),
        ("updated", "cdab"),
        ("-updated", "badc"),
    ],
)
def test_every_order(order: Order, wanted: str) -> None:
    by_id = {name: run(name, at=at) for name, at in zip("abcd", (2, 3, 0, 1), strict=True)}
    ordered = [by_id[name] for name in wanted]
    pages = [
        Page(runs=[one for one in ordered if one.foreign_id in share]) for share in ("ad", "bc")
    ]
    page = merged_page(pages, order, 3, [])
    assert [one.foreign_id for one in page.runs] == list(wanted[:3])
    cursor = read_cursor(page.cursor, order)
    assert cursor is not None
    assert cursor.foreign_id == wanted[2]
    instant = ordered[2].updated_at if "updated" in order else ordered[2].created_at
    assert cursor.at == instant


def test_a_list_by_updates_is_as_of_the_latest_that_any_worker_knew() -> None:
    def until(*pages: Page) -> int:
        cursor = read_cursor(merged_page(pages, "updated", 1, []).cursor, "updated")
        assert cursor is not None
        assert cursor.until is not None
        return round((cursor.until - NOW) / timedelta(hours=1))

    first, last = run("a", at=1), run("b", at=5)
    said = cursor_of("updated", first, NOW + timedelta(hours=9))
    assert until(Page(runs=[first]), Page(runs=[last])) == 5
    assert until(Page(runs=[first], cursor=said), Page(runs=[last])) == 9
    assert until(Page(runs=[first], cursor=said), Page(runs=[])) == 9


def test_there_is_more_if_a_worker_has_more() -> None:
    pages = [Page(runs=[run("a")], cursor=cursor_of("foreign_id", run("a"))), Page(runs=[])]
    assert merged_page(pages, "foreign_id", 1, []).cursor
    assert merged_page([Page(runs=[run("a")]), Page(runs=[])], "foreign_id", 1, []).cursor is None


@pytest.mark.parametrize("order", ["foreign_id", "created"])
def test_nothing_is_told_from_beyond_where_a_worker_has_looked(order: Order) -> None:
    runs = {name: run(name, at=-number) for number, name in enumerate("abcd")}
    short = Page(runs=[runs["a"]], cursor=cursor_of(order, runs["c"]))
    whole = Page(runs=[runs["b"], runs["d"]])
    for pages in ([short, whole], [whole, short]):
        page = merged_page(pages, order, 10, [])
        assert [each.foreign_id for each in page.runs] == ["a", "b"]
        assert read_cursor(page.cursor, order) == read_cursor(short.cursor, order)
        # Where the page is full before that, it ends as ever.
        page = merged_page(pages, order, 1, [])
        assert [each.foreign_id for each in page.runs] == ["a"]
        assert read_cursor(page.cursor, order) == read_cursor(cursor_of(order, runs["a"]), order)


def test_a_worker_that_has_found_nothing_yet_goes_on() -> None:
    empty = Page(runs=[], cursor=cursor_of("-updated", run("a", at=3)))
    page = merged_page([empty, Page(runs=[])], "-updated", 10, [])
    assert (page.runs, page.cursor) == ([], empty.cursor)
    later = merged_page([empty, Page(runs=[run("z", at=1)])], "-updated", 10, [])
    assert (later.runs, later.cursor) == ([], empty.cursor)


def test_a_run_that_moves_is_told_once_as_it_is_latest() -> None:
    old, new = Page(runs=[run("a", version=1), run("b")]), Page(runs=[run("a", version=2)])
    for pages in ([old, new], [new, old]):
        page = merged_page(pages, "foreign_id", 10, [])
        assert [(each.foreign_id, each.version) for each in page.runs] == [("a", 2), ("b", 1)]


def test_counts_are_summed_by_status_and_state() -> None:
    def view(counts: dict[str, dict[str, int]]) -> WorkflowView:
        return WorkflowView(
            name="w", start="A", statuses=["A", "B"], terminal=["B"], counts=counts, mermaid="m"
        )

    total = summed(
        [view({"A": {"RUNNING": 1}}), view({"A": {"RUNNING": 2, "PAUSED": 1}, "B": {}})], ["x"]
    )
    assert total.counts == {"A": {"PAUSED": 1, "RUNNING": 3}}
    assert (total.mermaid, total.missing) == ("m", ["x"])


def test_what_steps_have_done_is_summed_by_status() -> None:
    def view(**steps: StepView) -> WorkflowView:
        return WorkflowView(
            name="w", start="A", statuses=["A"], terminal=[], counts={}, mermaid="", steps=steps
        )

    one, two = StepView(count=1, seconds=0.5, errors=1), StepView(count=3, seconds=1.5)
    assert summed([view(A=one, B=one), view(A=two), view()], []).steps == {
        "A": StepView(count=4, seconds=2.0, errors=1),
        "B": one,
    }


def test_what_any_worker_holds_is_told_as_it_lasts_longest() -> None:
    def view(**held: int) -> WorkflowView:
        told = {
            status: HeldView(until=NOW + timedelta(hours=hours), failures=hours)
            for status, hours in held.items()
        }
        return WorkflowView(
            name="w", start="A", statuses=[], terminal=[], counts={}, mermaid="", held=told
        )

    total = summed([view(A=1, B=3), view(A=2), view(B=1, C=1), view()], [])
    assert {status: held.failures for status, held in total.held.items()} == {
        "A": 2,
        "B": 3,
        "C": 1,
    }
