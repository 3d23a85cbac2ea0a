"""Who gets in, as settings say: nobody from elsewhere, unless they say who."""

from collections.abc import Iterator, Sequence
from importlib import import_module

from streamwf.access import EVERY, Asked, Authenticator, Identity, Role
from streamwf.adapters.certificates import mistaken
from streamwf.adapters.web.guarding import Access, host_of, is_loopback
from streamwf.adapters.web.tls import tls_of
from streamwf.adapters.web.tokens import TokenFile, Tokens, entry_of
from streamwf.errors import AccessNotConfigured
from streamwf.ports import Logger
from streamwf.settings import Settings


class FirstOf:
    """Whoever one of several knows, the first one first. Implements `Authenticator`."""

    def __init__(self, authenticators: Sequence[Authenticator]) -> None:
        self._authenticators = authenticators

    async def identify(self, asked: Asked) -> Identity | None:
        for authenticator in self._authenticators:
            found = await authenticator.identify(asked)
            if found is not None:
                return found
        return None


def access_of(
    settings: Settings, logger: Logger, authenticator: Authenticator | None = None
) -> Access:
    """authenticator: one that is given in code; it is asked before those of the settings.

    Raises InvalidSettings, and AccessNotConfigured if others would reach what nothing guards.
    """
    found = [*_authenticators(settings, logger, authenticator)]
    if found and settings.web_open:
        raise mistaken("web_open", "it is said as well who gets in; leave one of them out")
    local = is_loopback(settings.web_host)
    if not (found or local or settings.web_open):
        raise AccessNotConfigured(host=settings.web_host)
    named = [name.strip().lower() for name in (settings.web_allowed_hosts or "").split(",")]
    hosts = frozenset([*named, host_of(settings.advertise or "")]) - {""}
    looked_at = local or settings.web_allowed_hosts is not None
    return Access(
        FirstOf(found) if found else None,
        hosts if looked_at else None,
        tls_of(settings, logger),
    )


def _authenticators(
    settings: Settings, logger: Logger, given: Authenticator | None
) -> Iterator[Authenticator]:
    """Raises InvalidSettings."""
    if given is not None:
        yield given
    if settings.web_authenticator is not None:
        yield _imported(settings.web_authenticator)
    if settings.web_token is not None:
        admin = Identity("admin", {EVERY: Role.ADMIN})
        yield Tokens([entry_of(settings.web_token.get_secret_value(), admin)])
    if settings.web_token_file is not None:
        yield TokenFile(settings.web_token_file, logger)


def _imported(place: str) -> Authenticator:
    """Raises InvalidSettings."""
    module, _, name = place.partition(":")
    try:
        found: Authenticator = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise mistaken("web_authenticator", f"{place} is not there: {error}") from error
    if isinstance(found, type) or not callable(getattr(found, "identify", None)):
        because = f"{place} has to be an object with the method `identify`"
        raise mistaken("web_authenticator", because)
    return found
