"""The rows of a shard as they are now: its table, and what no checkpoint has written to it yet."""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterator

from .agenda import timers_of
from .ports import Change, Checkpoint, ShardTable
from .record import MAILBOX, SEPARATOR, Record, row_key

#: How many rows are kept that were read for what is due, until what comes of it has changed them.
KEPT = 2_000

#: Every mailbox lies under this, and the foreign id.
_MAILBOXES = row_key(MAILBOX, "")


class Rows:
    """Changed rows are held in memory, where every reader sees them, until they are written."""

    def __init__(self, table: ShardTable) -> None:
        self.table = table
        self._changes: dict[str, Change] = {}
        self._writing: dict[str, Change] = {}
        self._heads: dict[str, str] = {}
        # Of the table, and not changed since they were read.
        self._kept: dict[str, Record] = {}
        #: The foreign ids for which something waits: asked for every trigger, and mostly none.
        self.mailboxes = set(self._stored_mailboxes())

    def _stored_mailboxes(self) -> Iterator[str]:
        for key, record in self.table.scan(_MAILBOXES):
            if not key.startswith(_MAILBOXES):
                return
            yield record.foreign_id

    # ---- reading

    def get(self, key: str) -> Record | None:
        change = self._changes.get(key) or self._writing.get(key)
        if change is not None:
            return change.after
        return self._kept.get(key) or self.table.get(key)

    def get_due(self, key: str) -> Record | None:
        """The same for a row that something is about to be done for: it is asked for again when
        that has been done, and need not be read and decoded then."""
        record = self.get(key)
        if record is not None and key not in self._changes and key not in self._writing:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = record
        return record

    def lookup(self, run_id: str) -> tuple[str, Record] | None:
        """The run of that id, and its key, whether it is the latest of its foreign id or not."""
        head = self._heads.get(run_id) or self.table.head_of(run_id)
        if head is None:
            return None
        for key in (head, f"{head}{SEPARATOR}{run_id}"):
            record = self.get(key)
            if record is not None and record.run_id == run_id:
                return key, record
        return None

    def scan(self, start: str) -> Iterator[tuple[str, Record]]:
        """All rows in the order of their keys, from `start` on."""
        fresh = {key: change.after for key, change in self._writing.items() if key >= start}
        fresh |= {key: change.after for key, change in self._changes.items() if key >= start}
        recent = ((key, fresh[key]) for key in sorted(fresh))
        stored = ((key, row) for key, row in self.table.scan(start) if key not in fresh)
        for key, row in heapq.merge(recent, stored, key=lambda item: item[0]):
            if row is not None:
                yield key, row

    def counts(self) -> Counter[tuple[str, str]]:
        """How many runs there are by (status, state)."""
        found: Counter[tuple[str, str]] = Counter(self.table.counts())
        for change in self.unwritten():
            for record, count in ((change.before, -1), (change.after, 1)):
                if record is not None and not record.kind:
                    found[record.status, record.state] += count
        return found

    def timers(self) -> Counter[str]:
        """How many timeouts wait to be answered, by the status of their runs."""
        found: Counter[str] = Counter(self.table.timers())
        for change in self.unwritten():
            for record, more in ((change.before, -1), (change.after, 1)):
                if record is not None and record.timers:
                    found[record.status] += more * timers_of(record)
        return found

    def unwritten(self) -> Iterator[Change]:
        """What has changed and is in no checkpoint that was made durable."""
        return itertools.chain(self._writing.values(), self._changes.values())

    @property
    def changed(self) -> int:
        """How many rows wait for a checkpoint."""
        return len(self._changes)

    # ---- changing

    def change(self, key: str, before: Record | None, after: Record | None) -> None:
        self._kept.pop(key, None)
        known = self._changes.get(key)
        self._changes[key] = Change(key, before if known is None else known.before, after)
        if after is None:
            if before is not None:
                self._heads.pop(before.run_id, None)
        elif before is None or before.run_id != after.run_id:
            self._heads[after.run_id] = row_key(after.kind, after.foreign_id)
        record = after or before
        if record is not None and record.kind == MAILBOX:
            (self.mailboxes.discard if after is None else self.mailboxes.add)(record.foreign_id)

    def take(self) -> list[Change]:
        """What the next checkpoint has to write."""
        self._writing, self._changes = self._changes, {}
        return list(self._writing.values())

    def written(self, checkpoint: Checkpoint) -> None:
        """The table holds the checkpoint."""
        for change in checkpoint.changes:
            if change.after is not None:
                self._heads.pop(change.after.run_id, None)
        self._writing = {}

    def not_written(self, checkpoint: Checkpoint) -> None:
        """Its rows go back among those that wait for a checkpoint."""
        for change in checkpoint.changes:
            newer = self._changes.get(change.key)
            after = change.after if newer is None else newer.after
            self._changes[change.key] = Change(change.key, change.before, after)
        self._writing = {}
