"""What aiokafka's clients are to be told of where the brokers are, and how to log in there."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka.conn import collect_hosts
from aiokafka.protocol.admin import SaslAuthenticateRequest
from pydantic import SecretStr

from streamwf.adapters.certificates import Names, read_secret
from streamwf.adapters.tls import Tls
from streamwf.errors import InvalidSettings
from streamwf.settings import KafkaSecurity

_NAMES = Names.beginning("kafka_")

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
        raise InvalidSettings(mistakes="\n".join(f"- {mistake}" for mistake in mistakes))
    protocol = security.kafka_security_protocol
    arguments: dict[str, Any] = {
        "bootstrap_servers": brokers,
        "security_protocol": protocol.upper(),
    }
    if protocol.endswith("ssl"):
        arguments["ssl_context"] = _tls(security).context()
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


def _secret(security: KafkaSecurity, name: str) -> str | None:
    """A secret, from the setting itself or from its file. Raises InvalidSettings."""
    given: SecretStr | None = getattr(security, name)
    if given is not None:
        return given.get_secret_value()
    file: Path | None = getattr(security, f"{name}_file")
    return None if file is None else read_secret(f"{name}_file", file)


def _tls(security: KafkaSecurity) -> Tls:
    """Raises InvalidSettings."""
    return Tls(
        _NAMES,
        security.kafka_ca_file,
        security.kafka_cert_file,
        security.kafka_key_file,
        _secret(security, "kafka_key_password") or "",
        security.kafka_check_hostname,
    )


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
