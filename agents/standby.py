"""Standbys: tables kept warm from the changelogs of shards that others own.

What a table can't take, mostly because of its disk, is no reason to leave it or others behind: it
is read again from where the table is.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial

import structlog
from aiokafka import ConsumerRecord, TopicPartition

from streamwf.adapters.kafka.outages import outages
from streamwf.adapters.kafka.reader import LogReader
from streamwf.ports import Logger
from streamwf.settings import Settings
from streamwf.tables.changelog import ChangelogRecord, Recovery, StaleTable
from streamwf.tables.runs import RunsTable

_logger: Logger = structlog.get_logger("streamwf.standby")

#: Seconds until a changelog whose table has failed is read again.
AGAIN = 1.0


class Standbys:
    """Follows changelogs into tables, so that a takeover has little left to read."""

    def __init__(self, settings: Settings, logger: Logger | None = None) -> None:
        self._logger = logger or _logger
        self._reader = LogReader(settings, self._apply, logger=logger)
        self._tables: dict[TopicPartition, RunsTable] = {}
        self._recoveries: dict[TopicPartition, Recovery] = {}
        self._started = False
        self._failed = False
        self._again: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def follow(self, tables: Mapping[TopicPartition, RunsTable]) -> None:
        """Follow these changelogs and no others. Where that fails it is tried again: what this
        worker owns is not to wait for copies."""
        self._tables = dict(tables)
        await self._follow()

    async def _follow(self) -> None:
        async with self._turn:
            self._failed = False
            if not self._started and self._tables:
                try:
                    await self._reader.start()
                except Exception as error:
                    for partition in self._tables:
                        self._fail(partition, error)
                    return
                self._started = True
            if self._started:
                await self._follow_tables()

    async def _follow_tables(self) -> None:
        sound: dict[TopicPartition, RunsTable] = {}
        for partition, table in self._tables.items():
            try:
                table.mend()
                sound[partition] = table
            except Exception as error:
                self._fail(partition, error)
        # Each begins anew together with the reading: what is read until then is still the former's,
        # and rows that it has, but not their marker, would be missing from what comes after them.
        await self._reader.follow({at: partial(self._begin, at, sound[at]) for at in sound})
        # One that has failed meanwhile is followed again by itself.
        self._recoveries = {at: each for at, each in self._recoveries.items() if at in sound}

    def _begin(self, partition: TopicPartition, table: RunsTable) -> int:
        """Where to read from."""
        recovery = self._recoveries[partition] = Recovery(table)
        return recovery.start

    async def _apply(
        self, partition: TopicPartition, records: Sequence[ConsumerRecord], begin: int
    ) -> None:
        recovery = self._recoveries.get(partition)
        if recovery is None:
            return
        try:
            self._take_in(partition, recovery, records)
        except Exception as error:
            self._fail(partition, error)

    def _take_in(
        self, partition: TopicPartition, recovery: Recovery, records: Sequence[ConsumerRecord]
    ) -> None:
        try:
            recovery.apply([ChangelogRecord(r.offset, r.key or b"", r.value) for r in records])
        except StaleTable:
            # Whoever takes over from here reads the new changelog from its beginning.
            self._logger.info("standby_stale", topic=partition.topic, shard=partition.partition)
            del self._recoveries[partition]
            recovery.table.wipe()

    def _fail(self, partition: TopicPartition, error: Exception) -> None:
        place = {"topic": partition.topic, "shard": partition.partition}
        outages.warn("standby_failed", error, self._logger, **place)
        self._recoveries.pop(partition, None)
        self._failed = True
        # Not now: whoever delivers has the reader's turn.
        if self._again is None or self._again.done():
            self._again = asyncio.create_task(self._follow_again())

    async def _follow_again(self) -> None:
        while self._failed:
            await asyncio.sleep(AGAIN)
            await self._follow()

    async def stop(self) -> None:
        if self._again is not None:
            self._again.cancel()
            await asyncio.gather(self._again, return_exceptions=True)
        if self._started:
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader.stop()
