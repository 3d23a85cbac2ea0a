"""TLS of what a worker serves, and of what it asks other workers."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamwf.adapters.certificates import Names, client_context, load_chain, mistaken, why
from streamwf.errors import InvalidSettings
from streamwf.ports import Logger
from streamwf.settings import WebAccess


@dataclass(frozen=True, slots=True)
class Tls:
    """server: what is shown to who connects; None without TLS. client: what other workers are
    checked with, and shown."""

    server: ssl.SSLContext | None = None
    client: ssl.SSLContext | bool = True


NO_TLS = Tls()

_NAMES = Names.beginning("web_")


def tls_of(settings: WebAccess, logger: Logger) -> Tls:
    """Raises InvalidSettings."""
    mistakes = [*_mistakes(settings)]
    if mistakes:
        raise InvalidSettings(mistakes="\n".join(f"- {mistake}" for mistake in mistakes))
    if settings.web_cert_file is None:
        if settings.web_ca_file is None:
            return NO_TLS
        return Tls(client=client_context(_NAMES, settings.web_ca_file))
    return _Certificate(settings, settings.web_cert_file, logger).tls


def _mistakes(settings: WebAccess) -> Iterator[str]:
    if settings.web_cert_file is None:
        for name in ("web_key_file", "web_key_password", "web_client_ca_file"):
            if getattr(settings, name) is not None:
                yield f"{name}: web_cert_file is not given, which this is of use for"


class _Certificate:
    """A certificate, as its files are when somebody connects."""

    def __init__(self, settings: WebAccess, cert_file: Path, logger: Logger) -> None:
        secret = settings.web_key_password
        self._cert_file = cert_file
        self._key_file = settings.web_key_file
        self._password = "" if secret is None else secret.get_secret_value()
        self._logger = logger
        self._written = self._looked()
        self._client_ca_file = settings.web_client_ca_file
        self._shown = self._loaded()
        server = self._loaded()
        server.sni_callback = self._show
        self._client = client_context(
            _NAMES, settings.web_ca_file, cert_file, self._key_file, self._password
        )
        self.tls = Tls(server, self._client)

    def _show(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        written = self._looked()
        if written != self._written:
            self._written = written
            self._replace()
        connection.context = self._shown

    def _replace(self) -> None:
        try:
            self._shown = self._loaded()
            self._load(self._client)
        except InvalidSettings as error:
            # It may be half written. What was shown before goes on being shown.
            self._logger.error("certificate_not_read", error=str(error))
        else:
            self._logger.info("certificate_read", file=str(self._cert_file))

    def _loaded(self) -> ssl.SSLContext:
        """Raises InvalidSettings."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._load(context)
        if self._client_ca_file is not None:
            _require(context, self._client_ca_file)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        load_chain(_NAMES, context, self._cert_file, self._key_file, self._password)

    def _looked(self) -> list[int]:
        """What tells one state of the files from another."""
        files = (file for file in (self._cert_file, self._key_file) if file is not None)
        return [_written(file) for file in files]


def _require(context: ssl.SSLContext, ca_file: Path) -> None:
    """Let nobody connect without a certificate of theirs. Raises InvalidSettings."""
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        raise mistaken("web_client_ca_file", f"{ca_file} can't be used: {why(error)}") from None
    context.verify_mode = ssl.CERT_REQUIRED


def _written(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
