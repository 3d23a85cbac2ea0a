"""What aiokafka's clients are to be told of where the brokers are, and how to log in there."""

import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiokafka.conn import collect_hosts
from aiokafka.protocol.admin import SaslAuthenticateRequest
from pydantic import SecretStr

from streamwf.errors import InvalidSettings
from streamwf.settings import KafkaSecurity

#: What of the settings is for one kind of connection only, and would be passed over by others.
_OF_SASL = ("username", "password", "password_file")
_OF_TLS = ("ca_file", "cert_file", "key_file", "key_password", "key_password_file")


def client_arguments(brokers: str, security: KafkaSecurity) -> dict[str, Any]:
    """The arguments of every client of aiokafka's for these brokers, HOST:PORT separated by commas.

    What was replaced in the files counts for clients that are made after that.

    Raises InvalidSettings, with every setting that is wrong.
    """
    mistakes = [*_misplaced(brokers), *_mistakes(security)]
    if mistakes:
        raise _invalid(*mistakes)
    protocol = security.kafka_security_protocol
    arguments: dict[str, Any] = {
        "bootstrap_servers": brokers,
        "security_protocol": protocol.upper(),
    }
    if protocol.endswith("ssl"):
        arguments["ssl_context"] = _context(_tls(security))
    if protocol.startswith("sasl"):
        logging.getLogger("aiokafka.conn").addFilter(_discreet)
        arguments["sasl_mechanism"] = security.kafka_sasl_mechanism
        arguments["sasl_plain_username"] = security.kafka_username
        arguments["sasl_plain_password"] = _secret(security, "kafka_password")
    return arguments


def _misplaced(brokers: str) -> Iterator[str]:
    try:
        collect_hosts(brokers)
    except ValueError:
        yield f"brokers: {brokers!r} is not HOST:PORT, separated by commas"


def _mistakes(security: KafkaSecurity) -> Iterator[str]:
    protocol = security.kafka_security_protocol
    unused = [*(() if protocol.startswith("sasl") else _OF_SASL)]
    unused += [*(() if protocol.endswith("ssl") else _OF_TLS)]
    for name in unused:
        if getattr(security, f"kafka_{name}") is not None:
            kind = "sasl_ssl or sasl_plaintext" if name in _OF_SASL else "ssl or sasl_ssl"
            yield f"kafka_{name}: kafka_security_protocol is {protocol}; this needs {kind}"
    for name in ("kafka_password", "kafka_key_password"):
        if getattr(security, name) is not None and getattr(security, f"{name}_file") is not None:
            yield f"{name}: {name}_file is given as well; leave one of them out"
    if protocol.startswith("sasl"):
        if not security.kafka_username:
            yield f"kafka_username: kafka_security_protocol is {protocol}, which needs one"
        if security.kafka_password is None and security.kafka_password_file is None:
            yield f"kafka_password: kafka_security_protocol is {protocol}, which needs one"
    if security.kafka_key_file is not None and security.kafka_cert_file is None:
        yield "kafka_cert_file: kafka_key_file is given, which is the key of one"


def _invalid(*mistakes: str) -> InvalidSettings:
    return InvalidSettings(mistakes="\n".join(f"- {mistake}" for mistake in mistakes))


def _secret(security: KafkaSecurity, name: str) -> str | None:
    """A secret, from the setting itself or from its file. Raises InvalidSettings."""
    given: SecretStr | None = getattr(security, name)
    if given is not None:
        return given.get_secret_value()
    file: Path | None = getattr(security, f"{name}_file")
    if file is None:
        return None
    try:
        # What writes such files often ends them with a line's end, which is no part of a password.
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"{name}_file: {file} can't be read: {_why(error)}") from None
    if not secret:
        raise _invalid(f"{name}_file: {file} is empty")
    return secret


# ---- TLS


@dataclass(frozen=True, slots=True)
class _Tls:
    """written: when each of the files was."""

    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    key_password: str = field(repr=False)
    check_hostname: bool
    written: tuple[int, ...]


def _tls(security: KafkaSecurity) -> _Tls:
    """Raises InvalidSettings."""
    return _Tls(
        security.kafka_ca_file,
        security.kafka_cert_file,
        security.kafka_key_file,
        _secret(security, "kafka_key_password") or "",
        security.kafka_check_hostname,
        tuple(
            _written(name, getattr(security, name))
            for name in ("kafka_ca_file", "kafka_cert_file", "kafka_key_file")
        ),
    )


def _written(name: str, file: Path | None) -> int:
    try:
        return 0 if file is None else file.stat().st_mtime_ns
    except OSError as error:
        raise _invalid(f"{name}: {file} can't be read: {_why(error)}") from None


# To read the system's certificates takes 20 ms, and each shard has clients of its own.
@lru_cache(maxsize=8)
def _context(tls: _Tls) -> ssl.SSLContext:
    """Raises InvalidSettings."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except OSError as error:
        raise _invalid(f"kafka_ca_file: {tls.ca_file} can't be used: {_why(error)}") from None
    context.check_hostname = tls.check_hostname
    if tls.cert_file is not None:
        try:
            # Without a password OpenSSL would ask for one at the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, lambda: tls.key_password)
        except OSError as error:
            raise _invalid(_unusable(tls, error)) from None
    return context


def _unusable(tls: _Tls, error: OSError) -> str:
    """Which setting is wrong, and why, if a certificate can't be used."""
    assert tls.cert_file is not None
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return f"kafka_key_file: its key is not that of {tls.cert_file}"
    key_file = tls.key_file or tls.cert_file
    # OpenSSL only says that it could not use the file.
    if b"ENCRYPTED" in key_file.read_bytes():
        return f"kafka_key_password: it does not open {key_file}"
    return f"kafka_cert_file: {tls.cert_file} can't be used with its key: {_why(error)}"


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# ---- logs


class _Discreet(logging.Filter):
    """Takes what logs in out of what aiokafka writes at debug: by PLAIN it is the password.

    That a password goes over the wire in the plain is told once, not for each connection.
    """

    warned = False

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_hidden, record.args))
        if record.msg != "Sending username and password in the clear":
            return True
        warned, self.warned = self.warned, True
        return not warned


def _hidden(value: object) -> object:
    key = getattr(value, "API_KEY", None)
    return "what logs in" if key == SaslAuthenticateRequest.API_KEY else value


_discreet = _Discreet()
