"""TLS contexts of clients, from files that people name, with mistakes told by the names they used.

In the URL of a store the names are those of PostgreSQL's libpq, whichever store it is
(https://www.postgresql.org/docs/current/libpq-ssl.html).
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from streamwf.errors import InvalidSettings, StoreMisnamed, StoreNotTrusted, StoreUnreachable

#: The parameters of a URL.
PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword")

#: By `sslmode`: whether the certificate has to be signed by one that is trusted, and to name the
#: host.
MODES = {"require": (False, False), "verify-ca": (True, False), "verify-full": (True, True)}

# What OpenSSL says of a certificate that is for another host, or another address.
_MISNAMED = (62, 64)


class Names(NamedTuple):
    """What people call each of these where they give it."""

    ca_file: str
    cert_file: str
    key_file: str
    key_password: str


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server is known, and what it is shown.

    ca_file: certificates (PEM) of who signs the server's; None for those of the system.
    verify: whether its certificate has to be signed by one of them.
    key_file: the key of cert_file; None if it is in there.
    """

    names: Names
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    key_password: str = field(default="", repr=False)
    check_hostname: bool = True
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """What was replaced in the files counts the next time. Raises InvalidSettings."""
        files = (self.ca_file, self.cert_file, self.key_file)
        named = zip(self.names, files, strict=False)
        return _context(self, tuple(_written(name, file) for name, file in named))


def tls_of(given: Mapping[str, str], setting: str, modes: Sequence[str] = tuple(MODES)) -> Tls:
    """What the parameters of a URL say.

    modes: those that the store knows. Raises InvalidSettings.
    """
    # Certificates are for nothing where nobody looks at them.
    mode = given.get("sslmode", "verify-full")
    if mode not in MODES:
        raise mistaken(setting, f"its sslmode is {mode!r}, which is none of {', '.join(modes)}")
    if "sslkey" in given and "sslcert" not in given:
        raise mistaken(setting, "its sslkey is the key of an sslcert, which is missing")
    verify, check_hostname = MODES[mode]
    return Tls(
        Names(*(f"{setting}: its {name}" for name in PARAMETERS[1:])),
        _file(given, "sslrootcert"),
        _file(given, "sslcert"),
        _file(given, "sslkey"),
        given.get("sslpassword", ""),
        check_hostname,
        # With who signs them named, libpq verifies them here, too.
        verify or "sslrootcert" in given,
    )


def _file(given: Mapping[str, str], name: str) -> Path | None:
    # `system` is libpq's name for what the system trusts.
    return Path(given[name]) if given.get(name, "system") != "system" else None


def certificate_failure(error: BaseException) -> type[StoreUnreachable] | None:
    """What to raise for an error if a certificate is to blame for it."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return StoreMisnamed if cause.verify_code in _MISNAMED else StoreNotTrusted
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def read_secret(name: str, file: Path) -> str:
    """What is in a file that holds a secret and nothing else. Raises InvalidSettings."""
    try:
        # What writes such files often ends them with a line's end, which is no part of a password.
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise mistaken(name, f"{file} can't be read: {_why(error)}") from None
    if not secret:
        raise mistaken(name, f"{file} is empty")
    return secret


def mistaken(name: str, why: str) -> InvalidSettings:
    return InvalidSettings(mistakes=f"- {name}: {why}")


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _written(name: str, file: Path | None) -> int:
    """When a file was written; 0 if there is none to be read."""
    try:
        return 0 if file is None else file.stat().st_mtime_ns
    except OSError as error:
        raise mistaken(name, f"{file} can't be read: {_why(error)}") from None


# To read the system's certificates takes 20 ms, and each shard has clients of its own.
@lru_cache(maxsize=8)
def _context(tls: Tls, written: tuple[int, ...]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise mistaken(tls.names.ca_file, f"{tls.ca_file} can't be used: {_why(error)}") from None
    context.check_hostname = tls.check_hostname
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file is not None:
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, lambda: tls.key_password)
        except OSError as error:
            raise _unusable(tls, tls.cert_file, error) from None
    return context


def _unusable(tls: Tls, cert_file: Path, error: OSError) -> InvalidSettings:
    """What is wrong, and why, if a certificate can't be used."""
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return mistaken(tls.names.key_file, f"its key is not that of {cert_file}")
    key_file = tls.key_file or cert_file
    # OpenSSL only says that it could not use the file.
    if b"ENCRYPTED" in key_file.read_bytes():
        return mistaken(tls.names.key_password, f"it does not open {key_file}")
    return mistaken(tls.names.cert_file, f"{cert_file} can't be used with its key: {_why(error)}")
