"""What several workers know, as one answer. Pure."""

import heapq
from collections import Counter
from collections.abc import Sequence

from streamwf.graph import counts
from streamwf.operations import cursor_of
from streamwf.views import Page, RunView, WorkflowView


def merged_page(pages: Sequence[Page], limit: int, missing: Sequence[str]) -> Page:
    """The first `limit` runs of all pages, each of which has its worker's first."""
    latest: dict[str, RunView] = {}
    for run in heapq.merge(*(page.runs for page in pages), key=_order):
        # A run whose shard is moving may be seen on both sides.
        if run.run_id not in latest or run.version > latest[run.run_id].version:
            latest[run.run_id] = run
    ordered = list(latest.values())
    runs = ordered[:limit]
    more = len(ordered) > limit or any(page.cursor for page in pages)
    return Page(
        runs=runs,
        cursor=cursor_of(runs[-1]) if more and runs else None,
        missing=[*missing],
    )


def _order(run: RunView) -> tuple[str, str]:
    return run.workflow, run.foreign_id


def summed(views: Sequence[WorkflowView], missing: Sequence[str]) -> WorkflowView:
    """A workflow with the counts of all workers; the rest is as the first one says."""
    total: Counter[tuple[str, str]] = Counter()
    for view in views:
        for status, states in view.counts.items():
            total.update({(status, state): count for state, count in states.items()})
    return views[0].model_copy(update={"counts": counts(total), "missing": [*missing]})
