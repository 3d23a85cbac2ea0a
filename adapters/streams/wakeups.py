"""Who waits for new rows of a table is woken: by senders of this process, and on PostgreSQL by
any that says so. Behind it stands polling, often while there is something to see and seldom else.
"""

import asyncio
from collections import defaultdict
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

logger = structlog.get_logger("streamwf.log")

CHANNEL = "streamwf_events"

#: Seconds between two looks: at first, and at most without and with notifications.
SOON, SELDOM, NOTIFIED = 0.005, 0.2, 1.0

#: Seconds until a lost connection that listens is made anew.
AGAIN_SECONDS = 1.0


class Wakeups:
    """Wakes those who wait for tables of one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: dict[str, set[Waiter]] = defaultdict(set)
        self._listening: asyncio.Task[None] | None = None
        self.notified = False

    def waiter(self, table: str) -> "Waiter":
        if self._engine.dialect.name == "postgresql" and self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        waiter = Waiter(self)
        self._waiting[table].add(waiter)
        return waiter

    def leave(self, table: str, waiter: "Waiter") -> None:
        self._waiting[table].discard(waiter)

    def wake(self, table: str) -> None:
        for waiter in self._waiting[table]:
            waiter.wake()

    async def notify(self, connection: AsyncConnection, table: str) -> None:
        """Wake those in other processes, once the transaction has been committed."""
        if connection.dialect.name == "postgresql":
            told = {"channel": CHANNEL, "table": table}
            await connection.execute(text("SELECT pg_notify(:channel, :table)"), told)

    async def close(self) -> None:
        task, self._listening = self._listening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._engine.connect() as connection:
                    raw = await connection.get_raw_connection()
                    await self._hear(raw.driver_connection)
            except Exception as error:
                # Whatever it is: polling goes on.
                logger.debug("notifications_lost", error=str(error))
            await asyncio.sleep(AGAIN_SECONDS)

    async def _hear(self, connection: Any) -> None:
        """Wake whoever a notification is for, until the connection is lost."""
        lost = asyncio.Event()

        def heard(_connection: object, _pid: int, _channel: str, table: str) -> None:
            self.wake(table)

        def ended(_connection: object) -> None:
            lost.set()

        connection.add_termination_listener(ended)
        await connection.add_listener(CHANNEL, heard)
        self.notified = True
        try:
            # Of what came before nobody has told.
            for table in self._waiting:
                self.wake(table)
            await lost.wait()
        finally:
            self.notified = False
            connection.remove_termination_listener(ended)
            if not connection.is_closed():
                await connection.remove_listener(CHANNEL, heard)


class Waiter:
    """One who waits. `clear` comes before the look whose result lets it wait."""

    def __init__(self, wakeups: Wakeups) -> None:
        self._wakeups = wakeups
        self._woken = asyncio.Event()
        self._pause = SOON

    def wake(self) -> None:
        self._woken.set()

    def clear(self) -> None:
        self._woken.clear()

    def found(self) -> None:
        """There was something: look again soon."""
        self._pause = SOON

    async def wait(self) -> None:
        """Until it is woken, or it is time to look again."""
        try:
            async with asyncio.timeout(self._pause):
                await self._woken.wait()
        except TimeoutError:
            self._pause = min(2 * self._pause, NOTIFIED if self._wakeups.notified else SELDOM)
