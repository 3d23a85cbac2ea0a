"""Clients of Redis, and what it says when something is wrong, told apart for people."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from streamwf.adapters.certificates import mistaken
from streamwf.adapters.tls import PARAMETERS, certificate_failure, tls_of
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
    """A client of a Redis server, and what to call both.

    url: redis://user:password@host/0, or rediss://… for TLS, with the parameters of
    `streamwf.adapters.tls`, and those of the client (https://redis.readthedocs.io).
    """

    def __init__(self, url: str, setting: str) -> None:
        """setting: the name of the one that has the URL. Nothing is connected yet.

        Raises InvalidSettings.
        """
        try:
            retry = Retry(ExponentialBackoff(), RETRIES)
            rest, tls = _take_tls(url, setting)
            self.client: Redis = Redis.from_url(rest, retry=retry, decode_responses=False, **tls)
        except ValueError:
            # The text of what can't be parsed may have a password anywhere.
            why = "is no URL of a Redis server, like redis://127.0.0.1:6379/0"
            raise mistaken(setting, why) from None
        pool = self.client.connection_pool
        try:
            # It would be refused with the first connection.
            pool.connection_class(**pool.connection_kwargs)
        except TypeError as error:
            unknown = str(error).rpartition(" ")[2]
            raise mistaken(setting, f"a Redis URL like this has no parameter {unknown}") from None
        self._setting = setting
        where = pool.connection_kwargs
        address = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        self.name = f"The Redis database {where.get('db', 0)} at {address}"

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
            raise kind(store=self.name, cause=cause, setting=self._setting) from None

    async def ping(self) -> None:
        """Raises StoreUnreachable, with what is wrong."""
        asked: Any = self.client
        with self.reached():
            await asked.ping()

    async def close(self) -> None:
        await self.client.aclose()


def _take_tls(url: str, setting: str) -> tuple[str, dict[str, Any]]:
    """A URL without what it says of TLS, and what the client is to be told in its place."""
    parts = urlsplit(url)
    if parts.scheme != "rediss":
        return url, {}
    query = parse_qsl(parts.query)
    tls = tls_of({name: value for name, value in query if name in PARAMETERS}, setting)
    # The client makes one of its own, and is not as exact about mistakes.
    tls.context()
    rest = urlencode([(name, value) for name, value in query if name not in PARAMETERS])
    return parts._replace(query=rest).geturl(), {
        "ssl_ca_certs": tls.ca_file,
        "ssl_certfile": tls.cert_file,
        "ssl_keyfile": tls.key_file,
        "ssl_password": tls.key_password or None,
        "ssl_check_hostname": tls.check_hostname,
        "ssl_cert_reqs": "required" if tls.verify else "none",
    }


def _failure_of(error: Exception) -> type[StoreUnreachable] | None:
    if kind := certificate_failure(error):
        return kind
    known = next((kind for of, kind in _FAILURES.items() if isinstance(error, of)), None)
    if known is None and isinstance(error, ResponseError):
        text = str(error)
        return next((kind for start, kind in _ANSWERS.items() if text.startswith(start)), None)
    return known
