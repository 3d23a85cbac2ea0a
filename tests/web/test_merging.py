"""Merging pages and counts."""

from datetime import UTC, datetime

from streamwf.adapters.web.merging import merged_page, summed
from streamwf.operations import read_cursor
from streamwf.record import State
from streamwf.views import Page, RunView, WorkflowView


def run(foreign_id: str, run_id: str = "r", version: int = 1, workflow: str = "w") -> RunView:
    return RunView(
        workflow=workflow,
        foreign_id=foreign_id,
        run_id=f"{foreign_id}-{run_id}",
        status="A",
        state=State.RUNNING,
        version=version,
        created_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
    )


def ids(page: Page) -> list[str]:
    return [each.run_id for each in page.runs]


def test_runs_of_a_foreign_id_stay_as_their_worker_has_them() -> None:
    first, second = Page(runs=[run("a", "9"), run("a", "1")]), Page(runs=[run("b")])
    assert ids(merged_page([second, first], 10, [])) == ["a-9", "a-1", "b-r"]


def test_workflows_come_before_foreign_ids() -> None:
    first = Page(runs=[run("a", workflow="x")])
    second = Page(runs=[run("z", workflow="w")])
    assert ids(merged_page([first, second], 10, [])) == ["z-r", "a-r"]


def test_the_cursor_is_after_what_is_shown() -> None:
    pages = [Page(runs=[run("a"), run("c")]), Page(runs=[run("b"), run("d")])]
    page = merged_page(pages, 3, [])
    assert ids(page) == ["a-r", "b-r", "c-r"]
    assert read_cursor(page.cursor) == ("w", "c", "c-r")


def test_there_is_more_if_a_worker_has_more() -> None:
    pages = [Page(runs=[run("a")], cursor="x"), Page(runs=[])]
    assert merged_page(pages, 1, []).cursor
    assert merged_page([Page(runs=[run("a")]), Page(runs=[])], 1, []).cursor is None


def test_a_run_that_moves_is_told_once_as_it_is_latest() -> None:
    old, new = Page(runs=[run("a", version=1), run("b")]), Page(runs=[run("a", version=2)])
    for pages in ([old, new], [new, old]):
        page = merged_page(pages, 10, [])
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
