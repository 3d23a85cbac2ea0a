"""Bearer tokens: who asks, by what only they know.

What is kept of a token is its hash. A token is as long as a key, so that nobody finds it by trying,
and a fast hash is enough.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from os import stat_result
from pathlib import Path

from aiohttp import hdrs

from streamwf.access import EVERY, Asked, Identity, Role
from streamwf.adapters.certificates import mistaken
from streamwf.errors import InvalidSettings
from streamwf.ports import Logger

#: What a token begins with, so that those who look for secrets in the wrong places know it.
PREFIX = "streamwf_"

HASH = "sha256:"

_NAME = re.compile(r"\S{1,200}")
_HASH = re.compile(HASH + r"([0-9a-f]{64})")

Entry = tuple[bytes, Identity]


def new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def entry_of(token: str, identity: Identity) -> Entry:
    return _digest(token), identity


def line_of(entry: Entry) -> str:
    """An entry as it stands in a file of tokens."""
    digest, identity = entry
    roles = ",".join(f"{workflow}={role}" for workflow, role in identity.roles.items())
    return f"{identity.name} {roles} {HASH}{digest.hex()}"


def role_of(text: str) -> tuple[str, Role]:
    """A workflow and the role for it, from `orders=viewer`; a role alone is for every workflow.

    Raises ValueError.
    """
    workflow, equals, role = text.rpartition("=")
    known = {str(each): each for each in Role}
    if role not in known or not (workflow or not equals):
        raise ValueError(f"{text!r} is not WORKFLOW=ROLE; roles: {', '.join(known)}")
    return workflow or EVERY, known[role]


def identity_of(name: str, roles: Sequence[str]) -> Identity:
    """roles: each as `role_of` takes it. Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {name[:80]!r} has to be of 1 to 200 characters, without spaces")
    return Identity(name, dict(map(role_of, roles)))


class Tokens:
    """Knows who asks by the token that they bear. Implements `Authenticator`."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    async def identify(self, asked: Asked) -> Identity | None:
        scheme, _, token = asked.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest, found = _digest(token.strip()), None
        # All are compared, and each takes its time whatever is in it.
        for known, identity in self._entries:
            if hmac.compare_digest(known, digest):
                found = identity
        return found


class TokenFile:
    """The same by a file, as it is at the time. Implements `Authenticator`.

    Raises InvalidSettings if the file can't be used. Once it could, a change that can't be used
    is logged, and what was read before goes on counting.
    """

    def __init__(self, path: Path, logger: Logger) -> None:
        self._path = path
        self._logger = logger
        self._written = _written(path)
        self._tokens = Tokens(_read(path))

    async def identify(self, asked: Asked) -> Identity | None:
        self._look()
        return await self._tokens.identify(asked)

    def _look(self) -> None:
        try:
            written = _written(self._path)
        except InvalidSettings:
            # It is being replaced, or gone: tell once.
            written = (0, 0, 0)
        if written == self._written:
            return
        self._written = written
        try:
            self._tokens = Tokens(_read(self._path))
        except InvalidSettings as error:
            self._logger.error("tokens_not_read", error=str(error))
        else:
            self._logger.info("tokens_read", file=str(self._path))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _written(path: Path) -> tuple[int, int, int]:
    """What tells one state of a file from another. Raises InvalidSettings."""
    try:
        told: stat_result = path.stat()
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None
    return told.st_mtime_ns, told.st_size, told.st_ino


def _read(path: Path) -> list[Entry]:
    """Raises InvalidSettings, naming the line that can't be read, and nothing that is in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, getattr(error, "strerror", None) or str(error)) from None
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                entries.append(_entry(line))
            except ValueError as error:
                raise _unusable(path, f"line {number}: {error}") from None
    return entries


def _entry(line: str) -> Entry:
    """Raises ValueError, without what may be a token."""
    parts = line.split()
    found = _HASH.fullmatch(parts[-1])
    if len(parts) != 3 or found is None:
        raise ValueError("it is not NAME ROLES sha256:HASH, as `streamwf token` writes it")
    name, roles, _ = parts
    return bytes.fromhex(found[1]), identity_of(name, roles.split(","))


def _unusable(path: Path, why: str) -> InvalidSettings:
    return mistaken("web_token_file", f"{path} can't be used: {why}")
