"""The client for code that can't await: each method is that of `Client`, made to block."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from datetime import timedelta
from enum import Enum
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from .client import Client, Handle
from .definition import Workflow
from .errors import ClientClosed

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")
AwaitedT = TypeVar("AwaitedT")
AwaitedT_co = TypeVar("AwaitedT_co", covariant=True)
ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

_END: Any = object()


class Loop:
    """An event loop in a thread of its own. It ends with the process, if it is not closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        name = "streamwf-client"
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, asked: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """What it returns; whoever is interrupted meanwhile cancels it. Raises ClientClosed."""
        if not self._thread.is_alive():
            asked.close()
            raise ClientClosed()
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ClientClosed() from None
        finally:
            future.cancel()

    def close(self) -> None:
        """Whoever still waits for an answer gets ClientClosed."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Blocking(Generic[AwaitedT_co]):
    """What is awaited elsewhere, and where that is."""

    def __init__(self, awaited: AwaitedT_co, loop: Loop) -> None:
        self._awaited = awaited
        self._loop = loop


def blocking(
    method: Callable[Concatenate[AwaitedT, P], Coroutine[Any, Any, AnswerT]],
) -> Callable[Concatenate[Blocking[AwaitedT], P], AnswerT]:
    """A method that waits for what another one awaits."""

    def call(self: Blocking[AwaitedT], /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return self._loop.run(method(self._awaited, *args, **kwargs))

    update_wrapper(call, method)
    return call


def each(
    method: Callable[Concatenate[AwaitedT, P], AsyncIterator[AnswerT]],
) -> Callable[Concatenate[Blocking[AwaitedT], P], Iterator[AnswerT]]:
    """A method that gives one by one what another one does."""

    def call(self: Blocking[AwaitedT], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[AnswerT]:
        stream = method(self._awaited, *args, **kwargs)
        try:
            while (found := self._loop.run(_next(stream))) is not _END:
                yield found
        finally:
            with suppress(ClientClosed):
                self._loop.run(_closed(stream))

    update_wrapper(call, method)
    return call


async def _next(stream: AsyncIterator[AnswerT]) -> AnswerT:
    return await anext(stream, _END)


async def _closed(stream: AsyncIterator[Any]) -> None:
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()


class SyncHandle(Blocking[Handle[ObjectT, StatusT]], Generic[ObjectT, StatusT]):
    """As `Handle`, for code that can't await."""

    @property
    def foreign_id(self) -> str:
        return self._awaited.foreign_id

    get = blocking(Handle.get)
    await_ = blocking(Handle.await_)
    callback = blocking(Handle.callback)
    history = blocking(Handle.history)
    pause = blocking(Handle.pause)
    resume = blocking(Handle.resume)
    cancel = blocking(Handle.cancel)
    retry = blocking(Handle.retry)
    delete_data = blocking(Handle.delete_data)


class SyncClient(Blocking[Client]):
    """As `Client`, for code that can't await: `Client.sync` makes it. Threads may share it.

    Use it in a `with`, or close it. Each call raises ClientClosed after that.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        with suppress(ClientClosed):
            self._loop.run(self._awaited.close())
        self._loop.close()

    def within(self, timeout: timedelta) -> "SyncClient":
        """As `Client.within`."""
        return SyncClient(self._awaited.within(timeout), self._loop)

    def run(
        self, workflow: Workflow[ObjectT, StatusT], foreign_id: str
    ) -> SyncHandle[ObjectT, StatusT]:
        """As `Client.run`."""
        return SyncHandle(self._awaited.run(workflow, foreign_id), self._loop)

    trigger = blocking(Client.trigger)
    callback = blocking(Client.callback)
    await_ = blocking(Client.await_)
    fork = blocking(Client.fork)

    get = blocking(Client.get)
    latest = blocking(Client.latest)
    find = blocking(Client.find)
    list = each(Client.list)
    count = blocking(Client.count)
    history = blocking(Client.history)
    export = blocking(Client.export)
    roles = blocking(Client.roles)
    workflows = blocking(Client.workflows)
    describe = blocking(Client.describe)
    overview = blocking(Client.overview)

    pause = blocking(Client.pause)
    resume = blocking(Client.resume)
    cancel = blocking(Client.cancel)
    retry = blocking(Client.retry)
    delete_data = blocking(Client.delete_data)
    bulk = each(Client.bulk)

    schedule = blocking(Client.schedule)
    schedules = blocking(Client.schedules)
    get_schedule = blocking(Client.get_schedule)
    pause_schedule = blocking(Client.pause_schedule)
    resume_schedule = blocking(Client.resume_schedule)
    delete_schedule = blocking(Client.delete_schedule)
    run_schedule = blocking(Client.run_schedule)
    backfill = blocking(Client.backfill)

    connectors = blocking(Client.connectors)
    pause_connector = blocking(Client.pause_connector)
    resume_connector = blocking(Client.resume_connector)

    dead_letters = each(Client.dead_letters)
    dead_letter = blocking(Client.dead_letter)
    retry_dead_letter = blocking(Client.retry_dead_letter)
    drop_dead_letter = blocking(Client.drop_dead_letter)

    watch = each(Client.watch)
