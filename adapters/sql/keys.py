"""The keys of runs, for workflows that encrypt, in PostgreSQL, MariaDB, MySQL or SQLite.

A run has one row: its key, or that it has none any more. A secret that was destroyed leaves the
database's files when it cleans them (PostgreSQL: a vacuum), and its backups and archives when they
are deleted.
"""

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from streamwf.adapters.sql.engine import writing
from streamwf.adapters.sql.schema import digest, keys
from streamwf.adapters.sql.upserts import insert_missing
from streamwf.errors import KeyDestroyed
from streamwf.ports import Key
from streamwf.tables.keys import ID, fresh_key


class SqlKeys:
    """Implements `streamwf.ports.KeyProvider`. Its tables: `migrations`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._add = insert_missing(engine, keys)

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        run = _Run(workflow, foreign_id, run_id)
        async with self._engine.connect() as connection:
            found = await run.find(connection)
        if found is None:
            async with writing(self._engine) as connection:
                # Of all who add one at once, the first has made it, and the others find it.
                await connection.execute(self._add, run.row(fresh_key().secret))
                found = await run.find(connection)
        if found is None or found.secret is None:
            raise KeyDestroyed(run_id=run_id)
        return Key(run.key_id, found.secret)

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        run = _Run(workflow, foreign_id, run_id)
        if key_id != run.key_id:
            return None
        async with self._engine.connect() as connection:
            found = await run.find(connection)
        return None if found is None or found.secret is None else Key(key_id, found.secret)

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        run = _Run(workflow, foreign_id, run_id)
        async with writing(self._engine) as connection:
            await connection.execute(self._add, run.row(None))
            await connection.execute(update(keys).where(*run.only).values(secret=None))


class _Run:
    """A run, and its row. The id of its key is told by the names of the run."""

    def __init__(self, workflow: str, foreign_id: str, run_id: str) -> None:
        self._workflow = workflow
        self._digest = digest(foreign_id, run_id)
        self.key_id = digest(workflow, foreign_id, run_id)[:ID].hex()
        self.only = (
            keys.c.workflow == workflow,
            keys.c.run_digest == self._digest,
            keys.c.key_id == self.key_id,
        )

    def row(self, secret: bytes | None) -> dict[str, object]:
        return {
            "workflow": self._workflow,
            "run_digest": self._digest,
            "key_id": self.key_id,
            "secret": secret,
        }

    async def find(self, connection: AsyncConnection) -> Row[tuple[bytes | None]] | None:
        return (await connection.execute(select(keys.c.secret).where(*self.only))).first()
