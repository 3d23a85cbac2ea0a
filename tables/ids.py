"""Which runs leave a table, so that their ids lead nowhere any more."""

from collections.abc import Callable, Iterator, Sequence

from streamwf.ports import Change
from streamwf.record import Record, archive_key


def gone(changes: Sequence[Change], get: Callable[[str], Record | None]) -> Iterator[str]:
    """The ids of runs that are under no key any more once changes are written. get: a row as it
    is before that.

    A run that was the latest of its foreign id may have been archived since: it stays, under
    another key; or archived and forgotten, which leaves nothing of it in the changes but that.
    """
    left = [
        (key, before)
        for key, before, after in changes
        if before is not None and (after is None or after.run_id != before.run_id)
    ]
    if not left:
        return
    now = {key: after for key, _, after in changes}
    for key, before in left:
        archived = archive_key(before)
        if key == archived or (now[archived] if archived in now else get(archived)) is None:
            yield before.run_id
