"""From Faust's assignment of partitions to the shards of the host.

Faust decides who owns which changelog partition, and who keeps a copy of it; the tables of
workflows are taken out of its own recovery, which reads one record at a time and can lose some.
Other tables of the app stay with Faust.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from faust import Table
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

#: Called with the actively owned and the standby changelog partitions of workflows' tables.
Assign = Callable[[set[TP], set[TP], int], Awaitable[None]]


class WorkflowTable(Table):
    """Stands for a workflow's runs table in Faust's assignment. Its rows are the host's."""

    async def on_start(self) -> None:
        """Nothing to declare: the topics exist before a worker starts."""


class WorkflowRecovery(Recovery):
    """Hands the partitions of workflows' tables to the host, and recovers the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._active: set[TP] = set()
        self._standby: set[TP] = set()

    def add_active(self, table: Any, tp: TP) -> None:
        if isinstance(table, WorkflowTable):
            self._active.add(tp)
        else:
            super().add_active(table, tp)

    def add_standby(self, table: Any, tp: TP) -> None:
        if isinstance(table, WorkflowTable):
            self._standby.add(tp)
        else:
            super().add_standby(table, tp)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        self._active, self._standby = set(), set()
        await super().on_rebalance(assigned, revoked, newly_assigned, generation_id)
        if generation_id == self.app.consumer_generation_id:
            await self.app.assign_shards(self._active, self._standby, generation_id)


class WorkflowTableManager(TableManager):
    """Faust's manager of tables, with the recovery above."""

    _recovery: Recovery | None

    async def on_start(self) -> None:
        """Without Faust's second of waiting for tables that agents may still declare: here all are
        there before the app starts."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = WorkflowRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
