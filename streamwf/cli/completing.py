"""What the shell offers when Tab is pressed: what the worker knows, if it answers at once."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from streamwf.errors import StreamwfError
from streamwf.views import Query, WorkflowView

if TYPE_CHECKING:
    from streamwf.client import Client

#: Whoever has pressed Tab does not wait longer.
AT_ONCE = timedelta(seconds=1)

#: Runs that are offered at most.
RUNS = 50

Look = Callable[["Client"], Coroutine[Any, Any, list[str]]]


def workflows(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Names of workflows."""

    async def look(client: "Client") -> list[str]:
        return [view.name for view in (await client.workflows()).workflows]

    return _beginning(begun, _told(context, look))


def statuses(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Names of statuses: of the workflow that is given, or of all."""
    workflow = context.params.get("workflow")

    async def look(client: "Client") -> list[str]:
        views: list[WorkflowView] = (await client.workflows()).workflows
        chosen = [view for view in views if workflow in (None, view.name)]
        return sorted({status for view in chosen for status in view.statuses})

    return _beginning(begun, _told(context, look))


def runs(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """WORKFLOW/ first, and after that the foreign ids that have runs."""
    workflow, slash, prefix = begun.partition("/")

    async def look(client: "Client") -> list[str]:
        if not slash:
            return [f"{view.name}/" for view in (await client.workflows()).workflows]
        query = Query(workflow=workflow, prefix=prefix or None, limit=RUNS)
        found = (await client.find(query)).runs
        return list(dict.fromkeys(f"{workflow}/{run.foreign_id}" for run in found))

    return _beginning(begun, _told(context, look))


def _beginning(begun: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(begun)]


def _told(context: click.Context, look: Look) -> list[str]:
    """What the worker tells that the command is for; nothing if it does not answer at once."""
    from streamwf.adapters.http import HttpGateway
    from streamwf.cli.options import DEFAULT_URL, endpoint
    from streamwf.client import Client

    url = context.params.get("url") or os.environ.get("STREAMWF_URL") or DEFAULT_URL

    async def asked() -> list[str]:
        async with Client(HttpGateway(endpoint(url))) as client:
            return await look(client.within(AT_ONCE))

    try:
        return asyncio.run(asked())
    except StreamwfError:
        return []
