"""`streamwf openapi`: the document of the HTTP API."""

import asyncio

import click


@click.command()
def openapi() -> None:
    """Write the OpenAPI document of the HTTP API, as every worker serves it at /openapi.json."""
    click.echo(asyncio.run(_document()))


async def _document() -> bytes:
    from streamwf.adapters.web import DOCUMENT, NoPeers, application
    from streamwf.embedded import EmbeddedHost
    from streamwf.operations import Operations

    # It is the same whatever workflows there are.
    return application(Operations(EmbeddedHost()), NoPeers(), lambda: None)[DOCUMENT]
