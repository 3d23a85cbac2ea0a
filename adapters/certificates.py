"""Certificates in files, for what listens and for what connects."""

import ssl
from pathlib import Path
from typing import NamedTuple

from streamwf.errors import InvalidSettings


class Names(NamedTuple):
    """What people call each of these where they give it."""

    ca_file: str
    cert_file: str
    key_file: str
    key_password: str

    @classmethod
    def beginning(cls, prefix: str) -> "Names":
        """Those of settings that begin like this."""
        return cls(*(f"{prefix}{name}" for name in cls._fields))


def client_context(
    names: Names,
    ca_file: Path | None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
    password: str = "",
) -> ssl.SSLContext:
    """What checks the certificate of who is connected to, and shows one's own.

    ca_file: the system's, if not given.

    Raises InvalidSettings.
    """
    context = trusting(ca_file, names.ca_file)
    if cert_file is not None:
        load_chain(names, context, cert_file, key_file, password)
    return context


def trusting(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """What trusts who signs there, or whom the system trusts. Raises InvalidSettings."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise mistaken(setting, f"{ca_file} can't be used: {why(error)}") from None


def load_chain(
    names: Names, context: ssl.SSLContext, cert_file: Path, key_file: Path | None, password: str
) -> None:
    """Have it show a certificate. Raises InvalidSettings, saying which of the names is wrong."""
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(cert_file, key_file, lambda: password)
    except OSError as error:
        raise _unusable(names, cert_file, key_file, error) from None


def _unusable(
    names: Names, cert_file: Path, key_file: Path | None, error: OSError
) -> InvalidSettings:
    """What is wrong, and why, if a certificate can't be used."""
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return mistaken(names.key_file, f"its key is not that of {cert_file}")
    file = key_file or cert_file
    # OpenSSL only says that it could not use the file.
    if file.is_file() and b"ENCRYPTED" in file.read_bytes():
        return mistaken(names.key_password, f"it does not open {file}")
    return mistaken(names.cert_file, f"{cert_file} can't be used with its key: {why(error)}")


def read_secret(name: str, file: Path) -> str:
    """What is in a file that holds a secret and nothing else. Raises InvalidSettings."""
    try:
        # What writes such files often ends them with a line's end, which is no part of a password.
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise mistaken(name, f"{file} can't be read: {why(error)}") from None
    if not secret:
        raise mistaken(name, f"{file} is empty")
    return secret


def mistaken(name: str, because: str) -> InvalidSettings:
    return InvalidSettings(mistakes=f"- {name}: {because}")


def why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
