"""Where a worker is, and what shows it who asks."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from streamwf.adapters.certificates import Names, client_context, mistaken, read_secret

_NAMES = Names.beginning("")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A worker, as a client reaches it.

    url: without a scheme, http. token: says who asks. token_file: a file with it, if it is not
        given itself; read anew for each connection.
    ca_file: certificates (PEM) of who signs that of the worker; the system's, if not given.
    cert_file: the client's own certificate, with its key (PEM).
    """

    url: str
    token: SecretStr | None = None
    token_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None

    @property
    def base(self) -> str:
        """The URL without what may stand at its end."""
        return (self.url if "://" in self.url else f"http://{self.url}").rstrip("/")

    def headers(self) -> dict[str, str]:
        """What says who asks. Raises InvalidSettings if the token can't be read."""
        token = self._token()
        if token is None:
            return {}
        if not token.isascii() or not token.isprintable() or " " in token:
            raise mistaken("token", "it has characters that no token has")
        return {"Authorization": f"Bearer {token}"}

    def _token(self) -> str | None:
        if self.token is not None:
            return self.token.get_secret_value()
        return None if self.token_file is None else read_secret("token_file", self.token_file)

    def tls(self) -> ssl.SSLContext | bool:
        """What the worker's certificate is checked with. Raises InvalidSettings."""
        if not self.base.startswith("https:"):
            return True
        return client_context(_NAMES, self.ca_file, self.cert_file)
