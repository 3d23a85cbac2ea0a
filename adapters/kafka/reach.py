"""Whether the brokers take this client, and if they don't, why.

aiokafka's own clients write each try to the log, and say at the end only that there was none that
succeeded. So one connection is tried before they are made.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streamwf.adapters.kafka.security import client_arguments
from streamwf.adapters.tls import MISNAMED
from streamwf.errors import (
    AccessDenied,
    BrokerMisnamed,
    BrokerNotTrusted,
    BrokerUnreachable,
    CertificateRefused,
    LoginRefused,
    MechanismRefused,
    ProtocolRefused,
)
from streamwf.settings import KafkaSecurity

#: Seconds until a broker that does not answer counts as unreachable.
PATIENCE = 10.0

#: Seconds until one that has hung up is asked again.
AGAIN = 0.5

#: What the rights of a user may lack: what it is that can't be used, and what has to be granted.
_RIGHTS: dict[type[KafkaError], tuple[str, str]] = {
    TopicAuthorizationFailedError: ("topic", "Read, Write and Describe"),
    GroupAuthorizationFailedError: ("group", "Read and Describe"),
    TransactionalIdAuthorizationFailed: ("transactional id", "Write and Describe"),
    ClusterAuthorizationFailedError: ("the cluster", "IdempotentWrite, and Create for topics,"),
}
DENIED = tuple(_RIGHTS)

Address = tuple[str, int]


async def connect(brokers: str, security: KafkaSecurity) -> AIOKafkaAdminClient:
    """A started admin client. Raises what `reach` does."""
    await reach(brokers, security)
    client = AIOKafkaAdminClient(**client_arguments(brokers, security))
    try:
        async with asyncio.timeout(PATIENCE):
            await client.start()
    except (KafkaError, OSError) as error:
        await client.close()
        raise unreachable(brokers, error) from error
    return client


def unreachable(brokers: str, error: Exception) -> BrokerUnreachable:
    """What it means to a person that a client has failed."""
    if isinstance(error, DENIED):
        return denied(type(error), error.args[0] if error.args else ())
    return BrokerUnreachable(brokers=brokers, cause=str(error) or type(error).__name__)


def denied(kind: type[KafkaError], names: str | Iterable[str] = ()) -> AccessDenied:
    """What it means to a person that the brokers do not let a client use something.

    kind: one of `DENIED`. names: of what, if it has any.
    """
    what, operations = _RIGHTS[kind]
    named = ", ".join(sorted([names] if isinstance(names, str) else names))
    return AccessDenied(what=f"{what} {named}".rstrip(), operations=operations)


async def reach(brokers: str, security: KafkaSecurity) -> None:
    """Connect to one of these brokers and log in; then to one of those that it names, as every
    client does.

    Raises InvalidSettings, and BrokerUnreachable or that of its subclasses that says what is wrong.
    """
    given = client_arguments(brokers, security)
    del given["bootstrap_servers"]
    addresses = [(host, port) for host, port, _ in collect_hosts(brokers, randomize=False)]
    used, named = await _first(brokers, addresses, security, given)
    if named and used not in named:
        await _first(",".join(map(_told, named)), named, security, given)


async def _first(
    brokers: str, addresses: list[Address], security: KafkaSecurity, given: dict[str, Any]
) -> tuple[Address, list[Address]]:
    """The first of these that can be reached, and those that it names."""
    failures: list[BrokerUnreachable] = []
    for address in addresses:
        try:
            async with asyncio.timeout(PATIENCE):
                return address, await _answer(address, given)
        except (KafkaError, OSError, UnicodeError) as error:
            failures.append(_failure(address, error, security))
    # One that has answered tells more than those that have not.
    for failure in failures:
        if type(failure) is not BrokerUnreachable:
            raise failure
    causes = "; ".join(str(failure.cause) for failure in failures)
    raise BrokerUnreachable(brokers=brokers, cause=causes)


async def _answer(address: Address, given: dict[str, Any]) -> list[Address]:
    try:
        return await _ask(address, given)
    except (KafkaError, OSError) as error:
        if not _hung_up(error):
            raise
    # A broker that is being stopped hangs up as one that does not understand.
    await asyncio.sleep(AGAIN)
    return await _ask(address, given)


async def _ask(address: Address, given: dict[str, Any]) -> list[Address]:
    """Where the brokers of a cluster are, as one of them says."""
    closing: list[Any] = []

    def closed(connection: Any, reason: Any) -> None:
        closing.append(connection)

    try:
        connection = await create_conn(*address, on_close=closed, **given)
        closing.append(connection)
        # The first thing that a broker refuses to who has not logged in.
        metadata = await connection.send(MetadataRequest([]))
        return [(broker[1], broker[2]) for broker in metadata.brokers]
    finally:
        # aiokafka closes one that it can't use, and does not wait until it is closed.
        for each in closing:
            await each.close()


def _failure(address: Address, error: BaseException, security: KafkaSecurity) -> BrokerUnreachable:
    """What a failed connection means to a person."""
    broker = _told(address)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            kind = BrokerMisnamed if cause.verify_code in MISNAMED else BrokerNotTrusted
            return kind(broker=broker, cause=cause.verify_message.rstrip("."))
        if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
            return CertificateRefused(broker=broker, cause=cause.reason)
        if isinstance(cause, SaslAuthenticationFailed):
            said = str(cause.args[0]).rstrip(".")
            return LoginRefused(broker=broker, username=security.kafka_username, cause=said)
        if isinstance(cause, UnsupportedSaslMechanismError):
            return MechanismRefused(broker=broker, mechanism=security.kafka_sasl_mechanism)
    if _hung_up(error):
        protocol = security.kafka_security_protocol
        why = "it ends the connection"
        return ProtocolRefused(broker=broker, protocol=protocol, cause=why)
    why = getattr(error, "strerror", None) or str(error) or f"no answer within {PATIENCE:g} s"
    return BrokerUnreachable(brokers=broker, cause=f"{broker}: {why}")


def _hung_up(error: BaseException) -> bool:
    """Whether a broker was there, and did not understand what it was told."""
    if isinstance(error, ConnectionRefusedError | TimeoutError | socket.gaierror):
        return False
    understood_nothing = (ConnectionError, ssl.SSLError, KafkaConnectionError)
    return isinstance(error, (*understood_nothing, IllegalSaslStateError))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _told(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
