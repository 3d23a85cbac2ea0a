"""Write a new generation of golden histories, as the present version writes them:

    python -m tests.golden.write

Do so when a format gets something new. Those that are there already never change: users have
logs and tables like them.
"""

import asyncio
import json
import logging
import re
import sys
import traceback
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streamwf import events
from streamwf.embedded import MemoryRecord
from streamwf.events import encode_event, request
from streamwf.record import Record
from streamwf.tables import timers
from streamwf.tables.changelog import ChangelogRecord, records_of
from streamwf.tables.memory import MemoryTable
from streamwf.testing import SteppedClock
from tests.golden import history
from tests.golden.flows import KINDS, a_golden_shop, an_engine
from tests.proof.day import DAY, HOUR, Day, spend
from tests.proof.embedded import a_shard
from tests.proof.shop import Order, Recorder, Shop
from tests.support import eventually

#: How many records are folded between two checkpoints, by turns: few, so that rows are kept as they
#: are in between.
CHECKPOINTS = (*[1] * 40, 20)

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class FilesAltered(Exception):
    """Golden histories are not as they were written: restore them first."""


async def a_history(name: str) -> history.History:
    """What a workflow of that kind leaves."""
    keys, clock = history.Keys(), SteppedClock()
    shop = a_golden_shop(name, Recorder(clock.now))
    async with an_engine(shop, clock, keys) as app:
        day = Day(app, shop)
        await some_are_rare(day)
        await spend(day)
        await app.client.trigger(shop, "later", Order(), start_at=clock.now() + DAY)
        await app.settle()
        log = [*app.host.logs[name].records]
    changelog, rows = checkpoints(shop, log)
    agenda = {key for name, row in rows.items() for key in timers.keys(name, row)}
    return history.History(log, changelog, sorted(agenda), keys.records)


async def some_are_rare(day: Day) -> None:
    """What a day has nothing of: schedules, a feed, forks, and what others write."""
    app, shop, client = day.app, day.shop, day.app.client
    [shard] = app.host.shards(shop.name)
    await eventually(lambda: shard.latest("from-a-feed") is not None)
    start = app.clock.now()
    await app.advance(HOUR)
    await client.schedule(shop, "made", "@every 6h", object=Order(), overlap="start")
    await client.schedule(shop, "made", "@every 8h", object=Order(), overlap="start")
    await client.pause_schedule(shop, "made", reason="not now")
    await client.backfill(shop, "daily", start - 2 * DAY, start)
    first = await day.order("first", first="repeat")
    await client.fork(first.run_id, 1, foreign_id="forked")
    for given in by_others(day):
        value = json.dumps({"subject": "other", **given}).encode()
        day.write("other", value)
    await app.settle()
    await app.advance(HOUR)


def by_others(day: Day) -> list[dict[str, Any]]:
    """As other programs write them, and other parts of this one: relays, access, forwarding."""
    full = request(day.shop.name, events.TRIGGER, "full", day.app.clock.now(), event_id="full")
    whole = json.loads(encode_event(full))
    del whole["id"]
    return [
        {"type": "trigger", "data": {}, "key": "k-1", "traceparent": TRACE},
        {"type": "pause", "reason": "by a program", "traceparent": OTHER_TRACE},
        {"type": "callback", "call": "pay", "data_base64": "JVBERi0=", "traceparent": TRACE},
        whole | {"id": "w-1", "runid": "w-1", "data": {"email": "w@example.org"}, "by": "ann"},
        whole | {"id": "w-2", "type": "pause", "runid": "w-1", "ifversion": 99, "unheard": True},
        whole | {"id": "w-3", "type": "cancel", "runid": "w-1", "forwarded": True, "reason": "r"},
    ]


def checkpoints(
    shop: Shop, log: Sequence[MemoryRecord]
) -> tuple[list[ChangelogRecord], dict[str, Record]]:
    """The changelog that folding a log leaves, and the rows in the end."""
    table, changelog = MemoryTable(), list[ChangelogRecord]()
    shard = a_shard(shop, table)
    for size in cycle(CHECKPOINTS):
        if shard.position == len(log):
            return changelog, dict(shard.scan(""))
        shard.fold(log[shard.position : shard.position + size])
        shard.take_asides()
        checkpoint = shard.checkpoint()
        assert checkpoint is not None
        for key, value in records_of(checkpoint, "golden")[1]:
            changelog.append(ChangelogRecord(len(changelog), key, value))
        table.write(checkpoint)
        shard.committed(checkpoint)
    raise AssertionError("it has no end")


def write_all(place: Path = history.HERE) -> Path:
    """The folder of the new generation. Raises FilesAltered."""
    if history.altered(place):
        raise FilesAltered(", ".join(history.altered(place)))
    former = (int(each.name) for each in history.generations(place))
    folder = place / str(1 + max(former, default=0))
    with patch("streamwf.telling.traceback.format_exception", _without_places):
        for name in KINDS:
            history.write(folder, name, asyncio.run(a_history(name)))
    (place / history.MANIFEST).write_text(json.dumps(history.hashes(place), indent=1) + "\n")
    return folder


_format = traceback.format_exception


def _without_places(error: BaseException) -> list[str]:
    """A traceback that does not tell where this machine has its files."""
    return [re.sub(r'File ".*[/\\]', 'File "', line) for line in _format(error)]


if __name__ == "__main__":
    logging.disable()
    sys.stdout.write(f"{write_all()}\n")
