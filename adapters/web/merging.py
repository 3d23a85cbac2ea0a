"""What several workers know, as one answer. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from streamwf.graph import counts
from streamwf.lists import (
    Cursor,
    cursor_of,
    descending,
    encoded,
    place_at,
    place_of,
    read_cursor,
)
from streamwf.views import HeldView, Order, Page, RunView, StepView, WorkflowView


def merged_page(pages: Sequence[Page], order: Order, limit: int, missing: Sequence[str]) -> Page:
    """The first `limit` runs of all pages, each of which has its worker's first.

    Where a worker has not looked any further, the page ends: it may have what comes next.
    """
    latest: dict[str, RunView] = {}
    for run in (run for page in pages for run in page.runs):
        # A run whose shard is moving may be seen on both sides.
        if run.run_id not in latest or run.version > latest[run.run_id].version:
            latest[run.run_id] = run
    down = descending(order)
    cursors = [read_cursor(page.cursor, order) for page in pages if page.cursor]
    ends = sorted((each for each in cursors if each is not None), key=place_at, reverse=down)
    known = [run for run in latest.values() if not ends or not _beyond(run, ends[0], down)]
    known.sort(key=lambda run: place_of(order, run.workflow, run), reverse=down)
    runs, until = known[:limit], _until(pages, order)
    cursor = None
    if len(runs) < len(known):
        cursor = cursor_of(order, runs[-1], until)
    elif ends:
        cursor = encoded(ends[0]._replace(until=until))
    return Page(runs=runs, cursor=cursor, missing=[*missing])


def _beyond(run: RunView, end: Cursor, down: bool) -> bool:
    place, border = place_of(end.order, run.workflow, run), place_at(end)
    return place < border if down else place > border


def _until(pages: Sequence[Page], order: Order) -> datetime | None:
    """The latest update of all runs of the list, as the workers have said or shown it."""
    if order != "updated":
        return None
    cursors = [read_cursor(page.cursor, order) for page in pages]
    said = [cursor.until for cursor in cursors if cursor is not None and cursor.until is not None]
    shown = (run.updated_at for page in pages for run in page.runs)
    return max([*said, *shown], default=None)


def summed(views: Sequence[WorkflowView], missing: Sequence[str]) -> WorkflowView:
    """A workflow with the counts of all workers, what their steps have done, and what any of them
    holds; the rest is as the first one says."""
    total: Counter[tuple[str, str]] = Counter()
    held: dict[str, HeldView] = {}
    steps: dict[str, StepView] = {}
    for view in views:
        for status, told in view.held.items():
            if status not in held or told.until > held[status].until:
                held[status] = told
        for status, states in view.counts.items():
            total.update({(status, state): count for state, count in states.items()})
        for status, step in view.steps.items():
            known = steps.get(status, StepView())
            steps[status] = StepView(
                count=known.count + step.count,
                seconds=known.seconds + step.seconds,
                errors=known.errors + step.errors,
            )
    return views[0].model_copy(
        update={"counts": counts(total), "held": held, "steps": steps, "missing": [*missing]}
    )
