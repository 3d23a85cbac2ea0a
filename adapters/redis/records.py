"""The rows and the agenda of all shards in Redis.

A checkpoint is one script, so that nobody sees a part of it, and it reaches the disk as one. It is
there when a call returns only if the server has `appendonly yes` and `appendfsync always`. With
less a crash takes the last checkpoints. Whoever stores the next one is told that they are gone, and
folds anew what they were folded from: so the log has to be elsewhere.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any

import structlog
from redis.exceptions import ResponseError

from streamwf.adapters.redis.client import Server
from streamwf.adapters.redis.scripts import OPEN, RECORDS, STORE
from streamwf.agenda import entries
from streamwf.errors import Fenced, RowsLost
from streamwf.ports import Change, Checkpoint, Due, RecordQuery, ShardId
from streamwf.record import Record, decode_record, encode_record
from streamwf.tables import queries, timers

logger = structlog.get_logger("streamwf.stores")

#: How many rows are fetched at a time.
_FETCHED = 250
_INSTANT = 8
#: Before every position.
_NOTHING = -1
_PREFIX = "streamwf"
_WORKFLOWS = f"{_PREFIX}:workflows"
_NEEDED = {"appendonly": "yes", "appendfsync": "always"}


class RedisStore:
    """Implements `streamwf.ports.RecordStore` and `TimeoutStore`.

    Filters of lists, but for workflows and instants, look at every run that is created then.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        # It decodes nothing, whatever its types say.
        self._client: Any = server.client
        self._open = self._client.register_script(OPEN)
        self._store = self._client.register_script(STORE)
        self._records = self._client.register_script(RECORDS)
        self._looked = False
        # The last position that is there for certain, and the token that it was opened with.
        self._there: dict[ShardId, tuple[int, int]] = {}

    # ---- rows

    async def open(self, shard: ShardId, token: int | None) -> int | None:
        if token is None:
            with self._server.reached():
                looked = await self._client.hget(_of(shard, "owner"), "position")
            return None if looked is None else int(looked)
        with self._server.reached():
            await self._look_at_durability()
            keys = [_of(shard, "owner"), _of_workflow(shard.workflow, "shards"), _WORKFLOWS]
            found = await self._open(keys, [token, shard.number, shard.workflow])
        if found is None:
            raise Fenced(workflow=shard.workflow, shard=shard.number)
        self._there[shard] = (token, _NOTHING if found[0] is None else int(found[0]))
        return None if found[0] is None else int(found[0])

    async def _look_at_durability(self) -> None:
        """Warn once if what is stored may be lost."""
        if self._looked:
            return
        self._looked = True
        try:
            found = await self._client.config_get("append*")
        except ResponseError:
            # Whoever rents a server out may keep this to himself.
            logger.warning("redis_durability_unknown", needed=_NEEDED)
            return
        has = {name: found.get(name) for name in _NEEDED}
        if has != _NEEDED:
            logger.warning("redis_not_durable", needed=_NEEDED, **has)

    async def rows(self, shard: ShardId) -> AsyncIterator[tuple[str, Record]]:
        found = self._client.hscan_iter(_of(shard, "rows"), count=_FETCHED)
        while True:
            with self._server.reached():
                row = await anext(found, None)
            if row is None:
                return
            yield row[0].decode(), decode_record(row[1])

    async def store(self, shard: ShardId, checkpoint: Checkpoint, token: int) -> None:
        names = ("owner", "rows", "index", "due")
        keys = [_of(shard, name) for name in names]
        keys += [_of_workflow(shard.workflow, name) for name in ("runs", "created")]
        opened, there = self._there.get(shard, (token, _NOTHING))
        there = there if opened == token else _NOTHING
        values: list[bytes | str | int] = [token, shard.number, checkpoint.position, there]
        for change in checkpoint.changes:
            values += _values(change)
        with self._server.reached():
            became = await self._store(keys, values)
        if became == b"fenced":
            raise Fenced(workflow=shard.workflow, shard=shard.number)
        if became == b"lost":
            named = {"workflow": shard.workflow, "shard": shard.number}
            raise RowsLost(store=self._server.name, **named)
        if opened == token:
            self._there[shard] = (token, checkpoint.position)

    async def lookup(self, workflow: str, run_id: str) -> Record | None:
        with self._server.reached():
            return next(iter(await self._fetch(workflow, [run_id.encode()])), None)

    async def _fetch(self, workflow: str, run_ids: Sequence[bytes]) -> list[Record]:
        keys = [_of_workflow(workflow, "runs")]
        found = await self._records(keys, [_of_workflow(workflow, ""), *run_ids])
        return [decode_record(record) for record in found if record is not None]

    async def latest(self, workflow: str, foreign_id: str) -> Record | None:
        with self._server.reached():
            numbers = await self._client.smembers(_of_workflow(workflow, "shards"))
            async with self._client.pipeline(transaction=False) as asked:
                for number in numbers:
                    asked.hget(_of(ShardId(workflow, int(number)), "rows"), foreign_id)
                found = await asked.execute()
        return next((decode_record(record) for record in found if record is not None), None)

    async def list(self, query: RecordQuery) -> Sequence[Record]:
        with self._server.reached():
            workflows = [query.workflow]
            if not query.workflow:
                workflows = [name.decode() for name in await self._client.smembers(_WORKFLOWS)]
            found: list[Record] = []
            for workflow in workflows:
                found += await self._first(workflow, query)
        return queries.select(found, query)

    async def _first(self, workflow: str, query: RecordQuery) -> Sequence[Record]:
        """Those of a workflow up to the end of the page that is wanted."""
        found: list[Record] = []
        async for run_ids in self._run_ids(workflow, query):
            found += [r for r in await self._fetch(workflow, run_ids) if queries.fits(r, query)]
            if len(found) >= query.offset + query.limit:
                break
        return found

    async def _run_ids(self, workflow: str, query: RecordQuery) -> AsyncIterator[Sequence[bytes]]:
        """The ids of runs that were created when it is asked for, in its order."""
        key = _of_workflow(workflow, "created")
        low, high = _from(query.created_after), _before(query.created_before)
        while True:
            if query.newest_first:
                found = await self._client.zrevrangebylex(key, high, low, 0, _FETCHED)
            else:
                found = await self._client.zrangebylex(key, low, high, 0, _FETCHED)
            if not found:
                return
            yield [member[_INSTANT:] for member in found]
            low, high = (low, b"(" + found[-1]) if query.newest_first else (b"(" + found[-1], high)

    # ---- the agenda

    async def put(self, shard: ShardId, due: Iterable[Due]) -> None:
        if added := {_member(each): 0 for each in due}:
            with self._server.reached():
                await self._client.zadd(_of(shard, "due"), added)

    async def delete(self, shard: ShardId, due: Iterable[Due]) -> None:
        if gone := [_member(each) for each in due]:
            with self._server.reached():
                await self._client.zrem(_of(shard, "due"), *gone)

    async def due(self, shard: ShardId, until: datetime, limit: int) -> Sequence[Due]:
        key, end = _of(shard, "due"), b"(" + _instant(until)
        with self._server.reached():
            found = await self._client.zrangebylex(key, b"-", end, 0, limit)
            if len(found) == limit:
                last = found[-1][:_INSTANT]
                at_once = await self._client.zrangebylex(key, b"[" + last, b"(" + _next(last))
                found = [member for member in found if member[:_INSTANT] < last] + at_once
        return [_due(member) for member in found]

    async def next_due(self, shard: ShardId) -> datetime | None:
        with self._server.reached():
            first = await self._client.zrangebylex(_of(shard, "due"), b"-", b"+", 0, 1)
        return _due(first[0]).due_at if first else None


def _of_workflow(workflow: str, name: str) -> str:
    return f"{_PREFIX}:{workflow}:{name}"


def _of(shard: ShardId, name: str) -> str:
    return _of_workflow(shard.workflow, f"{shard.number}:{name}")


def _values(change: Change) -> tuple[bytes | str, ...]:
    """What the script is given of a row."""
    key, record = change.key.encode(), change.after
    if record is None:
        return key, b"", b"", b"", b"", b""
    instants = {_instant(entry.due_at) for entry in entries(record)}
    row, created = encode_record(record), _instant(record.created_at)
    listed = b"" if record.kind else b"1"
    return key, row, record.run_id.encode(), created, listed, b"".join(instants)


def _instant(instant: datetime) -> bytes:
    return timers.instant_key(instant)[len(timers.PREFIX) :]


def _next(instant: bytes) -> bytes:
    return (int.from_bytes(instant, "big") + 1).to_bytes(_INSTANT, "big")


def _from(instant: datetime | None) -> bytes:
    return b"-" if instant is None else b"[" + _instant(instant)


def _before(instant: datetime | None) -> bytes:
    return b"+" if instant is None else b"(" + _instant(instant)


def _member(due: Due) -> bytes:
    return _instant(due.due_at) + due.key.encode()


def _due(member: bytes) -> Due:
    return Due(*timers.read(timers.PREFIX + member))
