"""What has become of runs between two moments: all of them, or one field by field."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from streamwf.cli.shapes import ChangedField, ChangedRun, Compared, ComparedRun, ComparedRuns, Stand
from streamwf.cli.targets import AnyWorkflow
from streamwf.graph import counts
from streamwf.record import Record
from streamwf.views import RunView

#: Runs of each kind that are named: on a terminal, and for programs.
SHOWN, LISTED = 20, 1_000

#: Lines of an object that stay beside one that has changed.
AROUND = 3


class _Known(NamedTuple):
    foreign_id: str
    version: int
    status: str
    state: str

    def stand(self) -> Stand:
        return Stand(version=self.version, status=self.status, state=self.state)


@dataclass
class Tally:
    """How many runs there were once, by status and state."""

    workflow: AnyWorkflow
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        pair = (self.workflow.current(record.status), str(record.state))
        self.counts[pair] = self.counts.get(pair, 0) + 1


class Earlier(Tally):
    """All runs as they were at the first of two moments, as briefly as they can be told apart."""

    def __init__(self, workflow: AnyWorkflow) -> None:
        super().__init__(workflow)
        self.runs: dict[str, _Known] = {}

    def take(self, record: Record) -> None:
        super().take(record)
        self.runs[record.run_id] = _known(self.workflow, record)


class Later(Tally):
    """What has become of them at the second."""

    def __init__(self, before: Earlier) -> None:
        super().__init__(before.workflow)
        self._before = before
        self._left = dict(before.runs)
        self._new, self._changed = ComparedRuns(), ComparedRuns()

    def take(self, record: Record) -> None:
        super().take(record)
        now, then = _known(self.workflow, record), self._left.pop(record.run_id, None)
        if then is None:
            _add(self._new, record.run_id, None, now)
        elif then.version != now.version:
            _add(self._changed, record.run_id, then, now)

    def compared(self, events: tuple[int, int]) -> Compared:
        """events: folded up to each of the moments."""
        gone = ComparedRuns()
        for run_id, then in self._left.items():
            _add(gone, run_id, then, None)
        return Compared(
            workflow=self.workflow.name,
            events_before=events[0],
            events_after=events[1],
            before=counts(self._before.counts),
            after=counts(self.counts),
            new=self._new,
            changed=self._changed,
            gone=gone,
        )


def _known(workflow: AnyWorkflow, record: Record) -> _Known:
    status = workflow.current(record.status)
    return _Known(record.foreign_id, record.version, status, str(record.state))


def _add(runs: ComparedRuns, run_id: str, then: _Known | None, now: _Known | None) -> None:
    known = now or then
    assert known is not None
    runs.count += 1
    if len(runs.runs) < LISTED:
        before, after = then and then.stand(), now and now.stand()
        found = ComparedRun(foreign_id=known.foreign_id, run_id=run_id, before=before, after=after)
        runs.runs.append(found)


# ---- one run


def changed_run(before: RunView | None, after: RunView | None) -> ChangedRun:
    """What has become of a run. One of the two is there."""
    run = after or before
    assert run is not None
    return ChangedRun(
        workflow=run.workflow,
        foreign_id=run.foreign_id,
        run_id=run.run_id,
        before=before,
        after=after,
        fields=[*_fields(before, after)],
        object=[*_lines(before, after)],
    )


def _fields(before: RunView | None, after: RunView | None) -> Iterator[ChangedField]:
    if before is None or after is None:
        return
    then, now = before.model_dump(mode="json"), after.model_dump(mode="json")
    for name in RunView.model_fields:
        if name != "object" and then[name] != now[name]:
            yield ChangedField(field=name, before=then[name], after=now[name])


def _lines(before: RunView | None, after: RunView | None) -> Iterator[str]:
    """The object's lines as `diff -u` tells them, without the names of files."""
    told = difflib.unified_diff(_written(before), _written(after), lineterm="", n=AROUND)
    yield from (line for number, line in enumerate(told) if number > 1)


def _written(run: RunView | None) -> list[str]:
    return [] if run is None else written(run.object).splitlines()


def written(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
