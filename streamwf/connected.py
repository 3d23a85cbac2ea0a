"""The operations on the connectors of which a host owns a part."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from .changing import Changing
from .connections import (
    Partitions,
    Place,
    connector_of,
    is_own,
    partitions_of,
    place_of,
)
from .connector_views import (
    ConnectorAction,
    ConnectorRun,
    Connectors,
    ConnectorView,
    PartitionView,
    joined,
)
from .definition import Workflow
from .errors import ConnectorNotFound, TransitionRefused
from .record import CONNECTOR, LIVE, SEPARATOR, Record, State, row_key
from .sources import OfWorker
from .views import run_view

#: Seconds that a source has to tell how far behind it is read.
PATIENCE = 5.0

_STATES: dict[ConnectorAction, State] = {"pause": State.PAUSED, "resume": State.RUNNING}


class Connected(Changing):
    """Looks at connectors, pauses and resumes them."""

    async def connectors(self, name: str) -> Connectors:
        """The connectors of a workflow, with the partitions that are read here.

        Raises WorkflowNotFound.
        """
        views = self._connector_views(self.workflow(name))
        return Connectors(connectors=[await self._with_lag(view) for view in views])

    async def steer_connector(
        self,
        name: str,
        connector: str,
        action: ConnectorAction,
        reason: str = "",
        key: str | None = None,
    ) -> ConnectorView:
        """Pause or resume what of a connector is here. key: makes a repeat harmless.

        Raises WorkflowNotFound, and what `steer` does.
        """
        workflow = self.workflow(name)
        for record in [*self._connector_runs(workflow)]:
            if connector_of(record.foreign_id) == connector and record.state in LIVE:
                if action == "resume" and record.state is not State.PAUSED:
                    continue
                with contextlib.suppress(TransitionRefused):
                    await self.steer(action, record.run_id, reason, key)
        return self.own_connector(name, connector)

    def own_connector(self, name: str, connector: str) -> ConnectorView:
        """What of a connector is here, if only that there is none. Raises WorkflowNotFound."""
        views = self._connector_views(self.workflow(name))
        found = [view for view in views if view.name == connector]
        return found[0] if found else ConnectorView(workflow=name, name=connector, declared=False)

    def check_connector(self, view: ConnectorView) -> None:
        """Raises ConnectorNotFound if there is no such connector. view: what all know of it."""
        if not view.declared and view.looking is None and not view.partitions:
            known = ", ".join(self.workflow(view.workflow).connectors) or "none"
            raise ConnectorNotFound(workflow=view.workflow, name=view.name, known=known)

    # ---- their inner runs

    def _connector_runs(self, workflow: Workflow[Any, Any]) -> Iterator[Record]:
        prefix = row_key(CONNECTOR, "")
        for shard in self.host.shards(workflow.name):
            for key, record in shard.scan(prefix):
                if not key.startswith(prefix):
                    break
                if SEPARATOR not in key.removeprefix(prefix):
                    yield record

    def _connector_views(self, workflow: Workflow[Any, Any]) -> list[ConnectorView]:
        declared = [
            ConnectorView(workflow=workflow.name, name=name, source=connector.source.name)
            for name, connector in workflow.connectors.items()
        ]
        here = [self._of_run(workflow, record) for record in self._connector_runs(workflow)]
        return joined([*declared, *here])

    def _of_run(self, workflow: Workflow[Any, Any], record: Record) -> ConnectorView:
        """A connector, as far as one of its inner runs tells."""
        name = connector_of(record.foreign_id)
        run = ConnectorRun(
            run_id=record.run_id,
            state=record.state,
            updated_at=record.updated_at,
            due_at=record.due_at,
            attempt=record.attempt,
            error=run_view(workflow.name, "", record).error,
            reason=record.reason,
        )
        view = ConnectorView(
            workflow=workflow.name, name=name, declared=name in workflow.connectors
        )
        told: Partitions | Place
        try:
            told = partitions_of(record) if is_own(record.foreign_id) else place_of(record)
        except msgspec.DecodeError:
            return view
        view.source = told.source
        if isinstance(told, Partitions):
            view.looking = run
        else:
            partition = PartitionView(
                **dict(run),
                partition=told.partition,
                position=told.position,
                messages=told.messages,
                set_aside=told.set_aside,
            )
            view.partitions = [partition]
        return view

    async def _with_lag(self, view: ConnectorView) -> ConnectorView:
        """With how far it is behind, if its source can tell at the moment."""
        connector = self.workflow(view.workflow).connectors.get(view.name)
        if connector is None or not view.partitions:
            return view
        source = connector.source
        if isinstance(source, OfWorker):
            source = source.of_worker(self.host.settings)
        positions = {each.partition: each.position for each in view.partitions}
        try:
            behind = await asyncio.wait_for(source.behind(positions), PATIENCE)
        except Exception:
            # Whatever it is: what reads the source tells of it.
            behind = {}
        for each in view.partitions:
            each.behind = behind.get(each.partition)
        return view
