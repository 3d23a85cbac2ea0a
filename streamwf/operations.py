"""The operations of a host: all that can be asked of the runs that it owns.

The web views and the client call these; what another worker owns they ask of that one.
"""

import uuid
from collections import Counter

from . import events
from .answering import Answering
from .connected import Connected
from .dead_letters import DeadLetters
from .errors import (
    ForeignIdNotFound,
    RunInProgress,
    TransitionRefused,
    VersionDiffers,
    VersionNotFound,
)
from .events import derived_id, object_of
from .fold import Verdict
from .overview import standing_of
from .recalling import Recalling
from .record import DELETED, Record
from .roles import roles_of
from .scheduling import Scheduling
from .shard import Shard
from .views import (
    Fork,
    RoleView,
    RunView,
    StepView,
    WorkflowView,
)


class Operations(Answering, Connected, DeadLetters, Recalling, Scheduling):
    """Operations on the runs that a host owns. patience: seconds to wait for a fold."""

    def describe(self, name: str) -> WorkflowView:
        """Raises WorkflowNotFound."""
        workflow = self.workflow(name)
        standing = standing_of(self.host, name)
        statuses = list(workflow.status_type.__members__)
        return WorkflowView(
            name=name,
            start=workflow.start_name,
            statuses=statuses,
            terminal=[status for status in statuses if workflow.terminal(status)],
            moves=workflow.graph.moves,
            search=list(workflow.search),
            counts=standing.counts,
            mermaid=workflow.mermaid(),
            held=standing.held,
            steps=self._steps(name, statuses),
        )

    def _steps(self, name: str, statuses: list[str]) -> dict[str, StepView]:
        """What the steps have done in this process."""
        measures = self.host.measures(name)
        errors: Counter[str] = Counter()
        for (status, _, _), count in measures.errors.items():
            errors[status] += count
        return {
            status: StepView(
                count=0 if took is None else sum(took.counts),
                seconds=0.0 if took is None else took.total,
                errors=errors[status],
            )
            for status in statuses
            if (took := measures.durations.get(status)) is not None or errors[status]
        }

    def roles(self) -> list[RoleView]:
        """What this process does in the shards that it holds."""
        return [
            role
            for name in self.workflows
            for shard in self.host.shards(name)
            for role in roles_of(shard, self.host.partitions)
        ]

    async def latest(self, name: str, foreign_id: str) -> RunView:
        """The latest run of a foreign id. Raises WorkflowNotFound, NotReady, ForeignIdNotFound."""
        self.workflow(name)
        shard = self._shard_of(name, foreign_id)
        record = shard.latest(foreign_id)
        if record is None:
            raise ForeignIdNotFound(workflow=name, foreign_id=foreign_id)
        return await self._view(shard, record)

    # ---- forking

    async def fork(self, run_id: str, asked: Fork, if_version: int | None = None) -> str:
        """Start a new run from what a run was at a version; return its id.

        It is accepted when this returns, unless its foreign id's shard is not here.
        if_version: only if the run has this version when its events are read. What is taken of it
        does not change any more, whatever it becomes.

        Raises RunNotFound, VersionNotFound, TransitionRefused if its data was deleted,
        VersionDiffers, TerminalStart, UnknownStatus, InvalidObject, RunInProgress, KeyReused,
        InvalidForeignId and DeadlineExceeded.
        """
        shard, record = self._find(run_id)
        if record.state in DELETED:
            raise TransitionRefused(action="fork", run_id=run_id, state=record.state)
        if if_version not in (None, record.version):
            raise VersionDiffers(
                action="fork", run_id=run_id, expected=if_version, version=record.version
            )
        name = shard.workflow.name
        status, data = await self._as_of(shard, record, asked.version)
        shard.workflow.load(data)
        foreign_id = asked.foreign_id or record.foreign_id
        event = events.request(
            name,
            events.TRIGGER,
            foreign_id,
            self.host.clock.now(),
            event_id=str(uuid.uuid4()),
            runid=derived_id(run_id, foreign_id, asked.key) if asked.key else str(uuid.uuid4()),
            status=shard.workflow.check_start(status).name,
            data=data,
            origin=f"{run_id}@{asked.version}",
            reason=asked.reason,
        )
        here = self.host.shard_of(name, foreign_id)
        if here is None or not here.live:
            with self._asking(name, event, record.trace) as traced:
                await self.host.append(name, traced)
            self._tell(name, traced, "appended")
            return event.runid
        answer = await self._submit(here, event, record.trace)
        if answer.verdict is Verdict.RUN_IN_PROGRESS and answer.record is not None:
            raise RunInProgress(foreign_id=foreign_id, run_id=answer.record.run_id)
        await self._check_repeat(here, answer, event, asked.key)
        return event.runid

    async def _as_of(self, shard: Shard, record: Record, version: int) -> tuple[str, bytes]:
        """The status and the object of a run at a version. Raises VersionNotFound."""
        first = record.version - len(record.offsets) + 1
        offsets = record.offsets[: max(version - first + 1, 0)]
        found = await self.host.read(shard.workflow.name, shard.partition, offsets)
        status = next((event.status for event in reversed(found) if event.status), "")
        data = next((data for e in reversed(found) if (data := object_of(e)) is not None), None)
        if not first <= version <= record.version or data is None or (first > 1 and not status):
            raise VersionNotFound(
                run_id=record.run_id, version=version, first=first, last=record.version
            )
        return status, bytes(data)
