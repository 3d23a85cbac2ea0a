"""Lists of rows by a `RecordQuery`, for stores that look at every row."""

import heapq
from collections.abc import Iterable
from datetime import datetime

from streamwf.ports import RecordQuery
from streamwf.record import Record


def fits(record: Record, query: RecordQuery) -> bool:
    """Whether a row of a workflow that is asked for is wanted."""
    return (
        not record.kind
        and query.foreign_id in ("", record.foreign_id)
        and (not query.states or record.state in query.states)
        and (not query.statuses or record.status in query.statuses)
        and (query.created_after is None or query.created_after <= record.created_at)
        and (query.created_before is None or record.created_at < query.created_before)
    )


def select(records: Iterable[Record], query: RecordQuery) -> list[Record]:
    """The page that is wanted, in its order. No more is held than the page and those before it."""
    found = (record for record in records if fits(record, query))
    first = heapq.nlargest if query.newest_first else heapq.nsmallest
    return first(query.offset + query.limit, found, key=_place)[query.offset :]


def _place(record: Record) -> tuple[datetime, str]:
    return record.created_at, record.run_id
