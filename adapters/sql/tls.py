"""TLS of connections to databases, as the parameters of their URLs have it."""

from typing import Any

from sqlalchemy import URL

from streamwf.adapters.certificates import mistaken
from streamwf.adapters.tls import MODES, PARAMETERS, tls_of

# What drivers do without a context. That of MariaDB has nothing between the plain and TLS.
_UNVERIFIED: dict[str, dict[str, dict[str, Any]]] = {
    "postgresql": {mode: {"ssl": mode} for mode in ("disable", "allow", "prefer")},
    "mysql": {"disable": {}},
    "mariadb": {"disable": {}},
}


def take_tls(url: URL, setting: str) -> tuple[URL, dict[str, Any]]:
    """A URL without what it says of TLS, and what the driver is to be told in its place.

    Raises InvalidSettings.
    """
    given = {name: _single(url, name, setting) for name in PARAMETERS if name in url.query}
    if not given:
        return url, {}
    rest = url.difference_update_query(PARAMETERS)
    unverified = _UNVERIFIED.get(url.get_backend_name(), {})
    mode = given.get("sslmode")
    if mode in unverified:
        return rest, unverified[mode]
    return rest, {"ssl": tls_of(given, setting, [*unverified, *MODES]).context()}


def _single(url: URL, name: str, setting: str) -> str:
    value = url.query[name]
    if not isinstance(value, str):
        raise mistaken(setting, f"{name} is in it more than once")
    return value
