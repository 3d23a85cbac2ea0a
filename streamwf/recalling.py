"""Looking at what a run was: at one of its versions, and at all that has made it what it is.

Both are folded from the run's own events, whose places in the log its record knows: as many as
`MAX_OFFSETS`.
"""

from collections.abc import Sequence
from typing import Any

from .definition import Workflow
from .errors import HistoryIncomplete, RunNotFound, TransitionRefused, VersionUnknown
from .events import Event, decode_event
from .fold import fold
from .histories import ExportedHistory, exported
from .looking import Looking
from .masked_views import for_who_asks
from .record import DELETED, MAX_OFFSETS, Record
from .views import RunView, run_view


class Recalling(Looking):
    """Looks at what the runs of a host were."""

    async def get_version(self, run_id: str, version: int) -> RunView:
        """A run as it was at a version.

        Raises RunNotFound, RoleMissing, VersionUnknown if it never had that version,
        HistoryIncomplete, and TransitionRefused if its data was deleted since.
        """
        shard, record = self._find(run_id)
        if not 1 <= version <= record.version:
            raise VersionUnknown(run_id=run_id, version=version, last=record.version)
        if version == record.version:
            return await self._view(shard, record)
        if record.state in DELETED:
            action = f"show version {version} of"
            raise TransitionRefused(action=action, run_id=run_id, state=record.state)
        offsets = record.offsets[:version]
        found = await self.host.read(shard.workflow.name, shard.partition, offsets)
        then = _folded(record, version, found)
        workflow = shard.workflow
        view = run_view(workflow.name, workflow.start_name, then)
        shown = view.model_copy(update={"status": workflow.current(then.status)})
        return for_who_asks(workflow, then, shown)

    async def export(self, run_id: str) -> ExportedHistory:
        """All events of a run as they lie in the log, to be kept in a file.

        Who may ask for it may see what runs bring one another, and what outsiders bring. What is
        masked is masked all the same.

        Raises RunNotFound, RoleMissing, HistoryIncomplete, and TransitionRefused if its data was
        deleted.
        """
        shard, record = self._find(run_id)
        if record.kind:
            raise RunNotFound(run_id=run_id)
        if record.state in DELETED:
            raise TransitionRefused(action="export", run_id=run_id, state=record.state)
        found = await self._logged(shard.workflow, shard.partition, record.offsets)
        _folded(record, record.version, found)
        return exported(shard.workflow, record, [*zip(record.offsets, found, strict=True)])

    async def _logged(
        self, workflow: Workflow[Any, Any], partition: int, offsets: Sequence[int]
    ) -> list[Event]:
        """The events at these offsets, as they lie in the log."""
        return [
            decode_event(
                record.value,
                workflow=workflow.name,
                partition=partition,
                offset=record.offset,
                timestamp_ms=record.timestamp,
                limit=self.host.max_record_bytes,
            )
            for record in await self.host.log(workflow.name, partition, offsets)
        ]


def _folded(record: Record, version: int, found: Sequence[Event]) -> Record:
    """What a run became by all its events up to a version.

    Raises HistoryIncomplete if the first ones are not known any more, or the log lacks some.
    """
    then: Record | None = None
    for offset, event in zip(record.offsets, found, strict=False):
        then, _ = fold(then, event, offset)
    if then is None or then.version != version:
        raise HistoryIncomplete(run_id=record.run_id, kept=MAX_OFFSETS)
    return then
