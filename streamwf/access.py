"""Who asks, and what they may do: roles of workflows, and who has them.

It is settled once for all that is asked in one go: around it lies `asked_by`. What a program asks
of a host in its own process is asked by nobody, and may do everything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from .errors import RoleMissing

#: Stands for every workflow where a role is given or needed.
EVERY = "*"

#: The longest name of somebody who asks, in characters.
MAX_NAME = 200


class Role(IntEnum):
    """What one may do; each may do what those before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who asks.

    name: as it is kept in the log with what they do, up to 200 characters that can be printed.
    roles: by workflow, and under "*" for those that are not named. What is not in it, is not there
        for them.
    known: whether it is said who they are; nobody else sees masked fields.

    Raises ValueError for a name that can't be kept.
    """

    name: str
    roles: Mapping[str, Role]
    known: bool = True

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable():
            raise ValueError(f"the name {self.name[:80]!r} has to be of 1 to 200 printable ones")

    def role(self, workflow: str) -> Role | None:
        return self.roles.get(workflow, self.roles.get(EVERY))


#: Whoever asks where nobody is asked who they are.
ANYBODY = Identity("anonymous", {EVERY: Role.ADMIN}, known=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as it tells who asks. path: without its parameters."""

    method: str
    path: str
    headers: Mapping[str, str]


class Authenticator(Protocol):
    """Says who asks.

    A worker that is asked for what another one has sends the headers on, and the other one judges
    them again: what only the connection tells counts for nothing there.
    """

    async def identify(self, asked: Asked) -> Identity | None:
        """Who it is; None if the request does not say so, or says it wrongly."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """needs: the role that what is asked takes."""

    identity: Identity
    needs: Role


_asking: ContextVar[_Asking | None] = ContextVar("streamwf_asking", default=None)


@contextmanager
def asked_by(identity: Identity, needs: Role = Role.VIEWER) -> Iterator[None]:
    """What is asked in this block is asked by them. needs: the role that it takes."""
    token = _asking.set(_Asking(identity, needs))
    try:
        yield
    finally:
        _asking.reset(token)


@contextmanager
def needing(role: Role) -> Iterator[None]:
    """What is asked in this block takes another role, whoever asks."""
    asking = _asking.get()
    token = _asking.set(None if asking is None else _Asking(asking.identity, role))
    try:
        yield
    finally:
        _asking.reset(token)


def who_asks() -> str:
    """The name of who asks; empty if it is the program itself."""
    asking = _asking.get()
    return "" if asking is None else asking.identity.name


def is_seen(workflow: str) -> bool:
    """Whether a workflow is there at all for whoever asks."""
    asking = _asking.get()
    return asking is None or asking.identity.role(workflow) is not None


def check_role(workflow: str) -> None:
    """Raises RoleMissing unless whoever asks may have done to a workflow what is asked."""
    asking = _asking.get()
    if asking is None:
        return
    role = asking.identity.role(workflow)
    if role is None or role < asking.needs:
        raise RoleMissing(
            name=asking.identity.name,
            has="no role" if role is None else str(role),
            needed=str(asking.needs),
            workflow="every workflow" if workflow == EVERY else f"workflow {workflow!r}",
        )


def sees_masked(workflow: str) -> bool:
    """Whether whoever asks may see the masked fields of a workflow's runs."""
    asking = _asking.get()
    if asking is None:
        return True
    return asking.identity.known and asking.identity.role(workflow) is Role.ADMIN
