"""The web application that every host serves: the HTTP API, health and metrics."""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from aiohttp import web
from prometheus_client.registry import Collector, CollectorRegistry

from streamwf.adapters.metrics import registry_of
from streamwf.adapters.web.answers import LOGGER, add_headers, problems, tagged, traced
from streamwf.adapters.web.api import Views, of_process
from streamwf.adapters.web.calling_back import CallbackViews
from streamwf.adapters.web.connectors import ConnectorViews
from streamwf.adapters.web.declared import Declared
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.events import EventViews
from streamwf.adapters.web.forwarding import DEADLINE, Forwarder, Peers
from streamwf.adapters.web.guarding import LOCAL_ONLY, Access, guarding
from streamwf.adapters.web.handlers import ProcessViews, RunViews, WorkflowViews
from streamwf.adapters.web.letters import LetterViews
from streamwf.adapters.web.listing import ListViews
from streamwf.adapters.web.needs import NEEDS, public
from streamwf.adapters.web.openapi import document
from streamwf.adapters.web.overview import OverviewViews
from streamwf.adapters.web.page import SETTINGS, Replaced, add_page, page_paths
from streamwf.adapters.web.reading import SLACK
from streamwf.adapters.web.schedules import ScheduleViews
from streamwf.operations import Operations

#: Where an application keeps its OpenAPI document.
DOCUMENT = web.AppKey[bytes]("document")

_DOCUMENT = "/openapi.json"


def application(
    operations: Operations,
    peers: Peers,
    ready: Callable[[], str | None],
    *,
    deadline: float = DEADLINE,
    access: Access = LOCAL_ONLY,
    collectors: Iterable[Collector] = (),
    page: Replaced | None = None,
) -> web.Application:
    """peers: where the other workers are; `NoPeers()` if there are none.

    ready: the reason why this worker can't say yet what it owns; None when it can. It has to name
    one from the moment that ownership may change until all that came of it is recovered: while no
    worker does, a run that is found nowhere is said not to exist.

    deadline: seconds that other workers have to answer what is forwarded to them.

    access: who gets in; unless given, anybody who reaches this machine's own address.

    page: what replaces parts of the page: a file for each of them, by its name, or a directory.

    Raises PagePartUnknown and PageFileUnreadable.
    """
    app = web.Application(
        middlewares=[problems, tagged, traced, guarding(access)],
        client_max_size=operations.host.max_record_bytes + SLACK,
    )
    app[LOGGER] = operations.host.logger
    forwarder = Forwarder(peers, deadline, access.tls.client)
    elsewhere = Elsewhere(forwarder, ready)
    runs = RunViews(operations, elsewhere)
    events = EventViews(operations, forwarder)
    views = Views(
        process=ProcessViews(ready, registry_of(operations.host, *collectors)),
        workflows=WorkflowViews(operations, elsewhere),
        overview=OverviewViews(operations, elsewhere),
        events=events,
        runs=runs,
        lists=ListViews(operations, elsewhere),
        callbacks=CallbackViews(operations, elsewhere),
        schedules=ScheduleViews(operations, elsewhere),
        connectors=ConnectorViews(operations, elsewhere),
        letters=LetterViews(operations),
    )
    declared = views.operations()
    _add(app, declared, operations.host.max_record_bytes)
    app[NEEDS] |= public({_DOCUMENT, SETTINGS, *page_paths()})
    app[DOCUMENT] = msgspec.json.encode(document(declared))
    app.router.add_get(_DOCUMENT, openapi)
    add_page(app, operations.host, page)
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(runs.stop_waiting)
    app.on_shutdown.append(events.stop_telling)
    app.cleanup_ctx.append(forwarder.running)
    return app


async def openapi(request: web.Request) -> web.Response:
    return web.Response(body=request.app[DOCUMENT], content_type="application/json")


def process_application(
    registry: CollectorRegistry, ready: Callable[[], str | None], access: Access = LOCAL_ONLY
) -> web.Application:
    """What a process serves that has no runs: health and metrics."""
    app = web.Application(middlewares=[problems, guarding(access)])
    _add(app, of_process(ProcessViews(ready, registry)), 0)
    app.on_response_prepare.append(add_headers)
    return app


def _add(app: web.Application, declared: Sequence[Declared], limit: int) -> None:
    """Serve operations to those who may ask for them. limit: bytes of the record that a request
    leads to."""
    app.add_routes(operation.route(limit) for operation in declared)
    app[NEEDS] = {route: need for each in declared for route, need in each.needs.items()}
