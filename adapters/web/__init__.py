"""The HTTP views: one aiohttp application that every host serves."""

from streamwf.adapters.web.configured import access_of
from streamwf.adapters.web.forwarding import NoPeers, Peers
from streamwf.adapters.web.guarding import Access
from streamwf.adapters.web.routes import DOCUMENT, application, process_application
from streamwf.adapters.web.server import Server, serve, url_of
from streamwf.adapters.web.store_peers import StorePeers

__all__ = [
    "DOCUMENT",
    "Access",
    "NoPeers",
    "Peers",
    "Server",
    "StorePeers",
    "access_of",
    "application",
    "process_application",
    "serve",
    "url_of",
]
