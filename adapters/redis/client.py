"""Clients of Redis, and what it says when something is wrong, told apart for people."""

from collections.abc import Iterator
from contextlib import contextmanager

from streamwf.errors import (
    InvalidSettings,
    StoreDenied,
    StoreFull,
    StoreNotFound,
    StoreReadOnly,
    StoreUnreachable,
)

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import (
        AuthenticationError,
        ConnectionError,
        NoPermissionError,
        OutOfMemoryError,
        ReadOnlyError,
        RedisError,
        ResponseError,
        TimeoutError,
    )
except ModuleNotFoundError:
    raise InvalidSettings(
        mistakes="- Redis needs a client: pip install 'streamwf[redis]'"
    ) from None

#: How often a call is tried again that has lost its connection. All that stores do bears it.
RETRIES = 3

# The more special ones first.
_FAILURES = {
    AuthenticationError: StoreDenied,
    NoPermissionError: StoreDenied,
    ReadOnlyError: StoreReadOnly,
    OutOfMemoryError: StoreFull,
    ConnectionError: StoreUnreachable,
    TimeoutError: StoreUnreachable,
    OSError: StoreUnreachable,
}
_ANSWERS = {"MISCONF": StoreFull, "DB index is out of range": StoreNotFound}


class Server:
    """A client of a Redis server, and what to call both. url: redis://user:password@host/0."""

    def __init__(self, url: str, setting: str) -> None:
        """setting: the name of the one that has the URL. Nothing is connected yet.

        Raises InvalidSettings.
        """
        try:
            retry = Retry(ExponentialBackoff(), RETRIES)
            self.client: Redis = Redis.from_url(url, retry=retry, decode_responses=False)
        except ValueError:
            # The text of what can't be parsed may have a password anywhere.
            mistake = f"- {setting}: is no URL of a Redis server, like redis://127.0.0.1:6379/0"
            raise InvalidSettings(mistakes=mistake) from None
        self._setting = setting
        where = self.client.connection_pool.connection_kwargs
        address = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        self._name = f"The Redis database {where.get('db', 0)} at {address}"

    @contextmanager
    def reached(self) -> Iterator[None]:
        """What keeps a call in the block from the server comes as StoreUnreachable."""
        try:
            yield
        except (RedisError, OSError) as error:
            kind = _failure_of(error)
            if kind is None:
                raise
            cause = str(error).rstrip(".")
            raise kind(store=self._name, cause=cause, setting=self._setting) from None

    async def close(self) -> None:
        await self.client.aclose()


def _failure_of(error: Exception) -> type[StoreUnreachable] | None:
    known = next((kind for of, kind in _FAILURES.items() if isinstance(error, of)), None)
    if known is None and isinstance(error, ResponseError):
        text = str(error)
        return next((kind for start, kind in _ANSWERS.items() if text.startswith(start)), None)
    return known
