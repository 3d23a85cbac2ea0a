"""TLS contexts of clients, from files that people name, with mistakes told by the names they used.

In the URL of a store the names are those of PostgreSQL's libpq, whichever store it is
(https://www.postgresql.org/docs/current/libpq-ssl.html).
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from streamwf.adapters.certificates import Names, client_context, mistaken, why
from streamwf.errors import StoreMisnamed, StoreNotTrusted, StoreUnreachable

#: The parameters of a URL.
PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword")

#: By `sslmode`: whether the certificate has to be signed by one that is trusted, and to name the
#: host.
MODES = {"require": (False, False), "verify-ca": (True, False), "verify-full": (True, True)}

#: What OpenSSL says of a certificate that is for another host, or another address.
MISNAMED = (62, 64)


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
            return StoreMisnamed if cause.verify_code in MISNAMED else StoreNotTrusted
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _written(name: str, file: Path | None) -> int:
    """When a file was written; 0 if there is none to be read."""
    try:
        return 0 if file is None else file.stat().st_mtime_ns
    except OSError as error:
        raise mistaken(name, f"{file} can't be read: {why(error)}") from None


# To read the system's certificates takes 20 ms, and each shard has clients of its own.
@lru_cache(maxsize=8)
def _context(tls: Tls, written: tuple[int, ...]) -> ssl.SSLContext:
    context = client_context(tls.names, tls.ca_file, tls.cert_file, tls.key_file, tls.key_password)
    context.check_hostname = tls.check_hostname
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    return context
