"""Connectors at work: what the steps of their inner runs do.

The step of a connector's own run looks for partitions and starts a run for each. The step of that
one reads the partition, for as long as its shard is here.
"""

import asyncio
from typing import Any

from .agenda import Kind
from .calling import of_the_loop
from .connections import (
    Partitions,
    Place,
    connector_of,
    encode,
    is_own,
    partitions_of,
    trigger_of,
)
from .connector import Connector
from .definition import Workflow
from .errors import ConnectorNotDeclared
from .events import Event
from .inner_work import InnerWork, Stopped
from .looking import Host
from .partition_reader import PATIENCE, Later, PartitionReader, check_source
from .record import Record
from .sources import OfWorker, Source

#: Seconds between two looks for new partitions.
LOOK = 30.0


class Connecting:
    """Does the work of a workflow's connectors. Implements `streamwf.execute.Inner`."""

    def __init__(self, host: Host, workflow: Workflow[Any, Any]) -> None:
        self._host = host
        self._workflow = workflow

    async def __call__(self, record: Record, kind: Kind) -> Event:
        work = InnerWork(self._host, self._workflow, record)
        try:
            async with work:
                await self._do(work)
        except Stopped:
            # Whatever stopped it has moved the run on, so that this is refused.
            return work.again()
        except Later as later:
            return work.failed(later.error, later.after, later.data, later.of)
        except BaseException as error:
            if of_the_loop(error):
                raise
            return work.put_off(error)
        raise AssertionError("the work of a connector has no end")

    async def _do(self, work: InnerWork) -> None:
        """Raises what stops it."""
        subject = work.record.foreign_id
        connector = self._workflow.connectors.get(connector_of(subject))
        if connector is None:
            error = ConnectorNotDeclared(workflow=self._workflow.name, name=connector_of(subject))
            if work.record.error is not None and work.record.error.type == type(error).__name__:
                # It was said, and what this process declares does not change.
                await work.rest(None)
            raise error
        source = connector.source
        if isinstance(source, OfWorker):
            source = source.of_worker(self._host.settings)
        if is_own(subject):
            await self._look(work, connector, source)
        else:
            await PartitionReader(self._host, self._workflow, connector, source, work).read()

    async def _look(self, work: InnerWork, connector: Connector[Any, Any], source: Source) -> None:
        """Look for partitions, and have those read that are new."""
        here = partitions_of(work.record)
        check_source(connector, here.source)
        while True:
            names = await work.until(asyncio.wait_for(source.partitions(), PATIENCE)) or ()
            new = [name for name in names if name not in here.known]
            if new:
                # What is in a partition that was added later is no message of before.
                places = [Place(here.source, name, begun=bool(here.known)) for name in new]
                now = self._host.clock.now()
                await self._host.append_all(
                    self._workflow.name,
                    [trigger_of(self._workflow.name, connector.name, p, now) for p in places],
                )
                here = Partitions(here.source, (*here.known, *new))
            if new or work.record.attempt:
                await work.repeat(encode(here))
            await work.rest(LOOK)
