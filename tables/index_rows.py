"""Which index rows come and go with the changes of a checkpoint."""

from collections.abc import Callable, Sequence

from streamwf.indexing import index_rows, moved_rows
from streamwf.ports import Change, Terms
from streamwf.record import Record, archive_key


def changed(
    changes: Sequence[Change], terms: Terms, get: Callable[[str], Record | None]
) -> tuple[dict[bytes, bytes], set[bytes]]:
    """The index rows to write, and the keys of those to delete. get: a row as it is before that.

    What a run had and has again, under whichever key its row lies, is neither.
    """
    gone: set[bytes] = set()
    there: dict[bytes, bytes] = {}
    left: list[str] = []
    for key, before, after in changes:
        if before is not None and after is not None:
            had, has = moved_rows(before, after, terms)
            # Mostly it is one of each: loops cost least.
            for index_key, _ in had:
                gone.add(index_key)
            for index_key, value in has:
                there[index_key] = value
        elif before is not None:
            gone.update(row for row, _ in index_rows(before, terms))
        elif after is not None:
            there.update(index_rows(after, terms))
        if before is not None and (after is None or after.run_id != before.run_id):
            archived = archive_key(before)
            if key != archived:
                left.append(archived)
    if left:
        known = {key for key, _, _ in changes}
        for archived in left:
            # It may be archived all along, as when a compacted changelog is read.
            row = None if archived in known else get(archived)
            if row is not None:
                gone.difference_update(key for key, _ in index_rows(row, terms))
    if gone.isdisjoint(there):
        return there, gone
    return {key: there[key] for key in there.keys() - gone}, gone - there.keys()
