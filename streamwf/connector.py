"""Declaring connectors: what reads a source, and says what each message leads to. Pure."""

import inspect
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar, overload

from .declared import Handler
from .retry import Retry
from .sources import Led, Message, Source

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

AsyncConnector: TypeAlias = Callable[[Message], Coroutine[Any, Any, Led[ObjectT, StatusT]]]
SyncConnector: TypeAlias = Callable[[Message], Led[ObjectT, StatusT]]
ConnectorFunction: TypeAlias = AsyncConnector[ObjectT, StatusT] | SyncConnector[ObjectT, StatusT]

#: What the ids of events begin with that a message has led to. Nobody waits for what becomes of
#: them, so they are set aside if they are refused.
MARK = "connector-"

#: How a message is tried whose function raises, before it is set aside.
QUICK = Retry(initial=timedelta(milliseconds=20), attempts=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector(Handler[ObjectT, StatusT]):
    """What reads a source. Its function says what a message leads to."""

    name: str
    source: Source


class ConnectorDecorator(Generic[ObjectT, StatusT]):
    """Registers a connector's function and hands it back as it was, with its type."""

    def __init__(self, register: Callable[[Callable[..., Any]], None]) -> None:
        self._register = register

    @overload
    def __call__(
        self, function: AsyncConnector[ObjectT, StatusT]
    ) -> AsyncConnector[ObjectT, StatusT]: ...

    @overload
    def __call__(
        self, function: SyncConnector[ObjectT, StatusT]
    ) -> SyncConnector[ObjectT, StatusT]: ...

    def __call__(
        self, function: ConnectorFunction[ObjectT, StatusT]
    ) -> ConnectorFunction[ObjectT, StatusT]:
        self._register(function)
        return function


class Connectable(Generic[ObjectT, StatusT]):
    """The part of a workflow that declares its connectors."""

    connectors: dict[str, Connector[ObjectT, StatusT]]
    handlers: list[Handler[ObjectT, StatusT]]
    noted: list[str]

    def connector(
        self,
        source: Source,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
    ) -> ConnectorDecorator[ObjectT, StatusT]:
        """Declare what the messages of a source lead to.

        The function is called with each message, and returns a `Start`, a `Call`, several of them
        in a list, or None. A message leads to each run once, however often it is read. It is
        called again for a message that was in use when its worker died.

        source: a `KafkaTopic`, or what `from_iterator` makes of an async iterator.
        name: the function's name, unless given. What was read is kept under it.
        retry: when a message is tried again whose function raises; three times in all, within
            a tenth of a second. After that it goes to the dead letters, and the next one has its
            turn.
        timeout: running longer than this counts as an error.
        """

        def register(function: Callable[..., Any]) -> None:
            called = name or str(getattr(function, "__name__", type(function).__name__))
            if called in self.connectors:
                self.noted.append(f"two connectors called {called!r}: name one")
            self.connectors[called] = Connector(
                where=f"connector {called!r}",
                name=called,
                source=source,
                function=function,
                is_async=inspect.iscoroutinefunction(function),
                retry=retry or QUICK,
                limit=timeout,
            )
            self.handlers.append(self.connectors[called])

        return ConnectorDecorator(register)


def mistakes(connector: Connector[Any, Any]) -> Iterator[str]:
    """What is wrong with a connector, each with its cure."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", connector.name):
        yield "its name has up to 100 letters, digits, '-', '_' and '.'"
    if not isinstance(connector.source, Source):
        yield (
            f"{connector.source!r} is no source: use KafkaTopic(…), or from_iterator(…) "
            "for anything else"
        )
