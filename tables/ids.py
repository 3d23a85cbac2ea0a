"""Which runs leave a table, so that their ids lead nowhere any more."""

from collections.abc import Callable, Iterator, Sequence

from streamwf.ports import Change
from streamwf.record import Record, archive_key


def gone(changes: Sequence[Change], get: Callable[[str], Record | None]) -> Iterator[str]:
    """The ids of runs whose rows are taken away, before changes are written. get: a row as it is.

    A run that is the latest of its foreign id in the table may have been archived since, and the
    one after it forgotten: it stays, under another key. What is written in the same changes is put
    into the index after this.
    """
    for key, before, after in changes:
        if after is None and before is not None:
            archived = archive_key(before)
            if key == archived or get(archived) is None:
                yield before.run_id
