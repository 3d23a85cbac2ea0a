"""Sending a pile of triggers: by a worker over HTTP, or straight into the topic."""

import asyncio
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from io import UnsupportedOperation
from typing import BinaryIO

from streamwf.adapters.endpoints import Endpoint
from streamwf.cli.interrupt import ctrl_c
from streamwf.cli.output import Report, progress_bar
from streamwf.cli.pile import Pile
from streamwf.errors import DeadlineExceeded, RecordTooLarge, RequestRefused, StreamwfError
from streamwf.settings import Settings
from streamwf.views import Trigger

#: Triggers under way at once over HTTP.
CONCURRENCY = 32

#: The longest line that is read from a pipe, in bytes.
LONGEST_LINE = 64 << 20

#: What is wrong with one line only, so that the others go on.
_OF_A_LINE = (RequestRefused, RecordTooLarge, DeadlineExceeded)


def send(workflow: str, pile: Pile, way: Endpoint | Settings, wait: bool) -> None:
    """Trigger each line, by the worker at a URL or straight into the topic that settings name."""
    total = pile.lines()
    with ctrl_c(pile.interrupt), progress_bar(f"triggering {workflow}") as report:
        report(0, total)
        try:
            if isinstance(way, Settings):
                asyncio.run(_over_kafka(workflow, pile, way, report, total))
            else:
                asyncio.run(_over_http(workflow, pile, way, wait, report, total))
        except StreamwfError as error:
            pile.stop(str(error))
        report(pile.read, total)


async def _over_http(
    workflow: str, pile: Pile, at: Endpoint, wait: bool, report: Report, total: int | None
) -> None:
    from streamwf.adapters.http import HttpGateway

    gateway = HttpGateway(at)
    slots = asyncio.Semaphore(CONCURRENCY)

    async def trigger_one(number: int, trigger: Trigger) -> None:
        try:
            await gateway.trigger(workflow, trigger, wait)
            pile.accepted += 1
        except StreamwfError as error:
            pile.refuse(number, str(error))
            if not isinstance(error, _OF_A_LINE):
                pile.stop(str(error))
        finally:
            slots.release()
            report(pile.read, total)

    try:
        async with asyncio.TaskGroup() as tasks, _lines(pile) as lines:
            async for line in lines:
                taken = pile.take(line, Trigger.model_validate_json)
                if taken is not None:
                    await slots.acquire()
                    tasks.create_task(trigger_one(*taken))
                if pile.stopped:
                    break
    finally:
        await gateway.close()


@asynccontextmanager
async def _lines(pile: Pile) -> AsyncIterator[AsyncIterable[bytes]]:
    """The lines of a file, or those of a pipe as they come, without keeping others waiting."""
    if not _is_pipe(pile.file):
        yield _each(pile.file)
        return
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(LONGEST_LINE)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pile.file
    )
    pile.hang_up = partial(loop.call_soon_threadsafe, transport.close)
    try:
        yield reader
    finally:
        pile.hang_up = lambda: None
        transport.close()


async def _each(file: BinaryIO) -> AsyncIterator[bytes]:
    for line in file:
        yield line


def _is_pipe(file: BinaryIO) -> bool:
    try:
        mode = os.fstat(file.fileno()).st_mode
    except UnsupportedOperation:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


async def _over_kafka(
    workflow: str, pile: Pile, settings: Settings, report: Report, total: int | None
) -> None:
    from streamwf.adapters.kafka.triggers import append_triggers

    def progress(appended: int) -> None:
        pile.appended(appended)
        report(pile.read, total)

    try:
        await append_triggers(workflow, pile.triggers(), settings, progress)
    except StreamwfError:
        pile.give_back()
        raise
