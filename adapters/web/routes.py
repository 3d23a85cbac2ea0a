"""The web application that every host serves: the HTTP API, health and metrics."""

from collections.abc import Callable, Iterable
from typing import get_args

from aiohttp import web
from prometheus_client.registry import Collector, CollectorRegistry

from streamwf.adapters.metrics import registry_of
from streamwf.adapters.web.answers import LOGGER, add_headers, problems, traced
from streamwf.adapters.web.calling_back import CallbackViews
from streamwf.adapters.web.connectors import ConnectorViews
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.events import EventViews
from streamwf.adapters.web.forwarding import DEADLINE, Forwarder, Peers
from streamwf.adapters.web.guarding import LOCAL_ONLY, Access, guarding
from streamwf.adapters.web.handlers import ProcessViews, RunViews, WorkflowViews
from streamwf.adapters.web.letters import LetterViews
from streamwf.adapters.web.listing import ListViews
from streamwf.adapters.web.overview import OverviewViews
from streamwf.adapters.web.reading import SLACK
from streamwf.adapters.web.schedules import ScheduleViews
from streamwf.connector_views import ConnectorAction
from streamwf.letter_views import LetterAction
from streamwf.operations import Operations
from streamwf.schedule_views import ScheduleAction
from streamwf.views import Action

_ACTIONS = "|".join(get_args(Action))
_SCHEDULE = "/api/v1/workflows/{name}/schedules/{schedule}"
_CONNECTORS = "/api/v1/workflows/{name}/connectors"
_CONNECTOR_ACTIONS = "|".join(get_args(ConnectorAction))
_LETTER_ACTIONS = "|".join(get_args(LetterAction))
_SCHEDULE_ACTIONS = "|".join(get_args(ScheduleAction))


def application(
    operations: Operations,
    peers: Peers,
    ready: Callable[[], str | None],
    *,
    deadline: float = DEADLINE,
    access: Access = LOCAL_ONLY,
    collectors: Iterable[Collector] = (),
) -> web.Application:
    """peers: where the other workers are; `NoPeers()` if there are none.

    ready: the reason why this worker can't say yet what it owns; None when it can. It has to name
    one from the moment that ownership may change until all that came of it is recovered: while no
    worker does, a run that is found nowhere is said not to exist.

    deadline: seconds that other workers have to answer what is forwarded to them.

    access: who gets in; unless given, anybody who reaches this machine's own address.
    """
    app = web.Application(
        middlewares=[problems, traced, guarding(access)],
        client_max_size=operations.host.max_record_bytes + SLACK,
    )
    app[LOGGER] = operations.host.logger
    forwarder = Forwarder(peers, deadline, access.tls.client)
    elsewhere = Elsewhere(forwarder, ready)
    process = ProcessViews(ready, registry_of(operations.host, *collectors))
    workflows = WorkflowViews(operations, elsewhere)
    runs = RunViews(operations, elsewhere)
    lists = ListViews(operations, elsewhere)
    callbacks = CallbackViews(operations, elsewhere)
    schedules = ScheduleViews(operations, elsewhere)
    connectors = ConnectorViews(operations, elsewhere)
    letters = LetterViews(operations)
    events = EventViews(operations, forwarder)
    overview = OverviewViews(operations, elsewhere)
    app.add_routes(
        [
            web.get("/healthz", process.healthz),
            web.get("/readyz", process.readyz),
            web.get("/metrics", process.metrics),
            web.get("/api/v1/roles", workflows.roles),
            web.get("/api/v1/workflows", workflows.all),
            web.get("/api/v1/workflows/{name}", workflows.one),
            web.post("/api/v1/workflows/{name}/runs", runs.trigger),
            web.post("/api/v1/workflows/{name}/callbacks", callbacks.callback),
            web.get("/api/v1/workflows/{name}/latest/{foreign_id}", runs.latest),
            web.get("/api/v1/workflows/{name}/latest/{foreign_id}/{asked:await}", runs.latest),
            web.post(
                f"/api/v1/workflows/{{name}}/latest/{{foreign_id}}/{{asked:{_ACTIONS}}}",
                runs.latest,
            ),
            web.get("/api/v1/workflows/{name}/schedules", schedules.all),
            web.get(_SCHEDULE, schedules.get),
            web.put(_SCHEDULE, schedules.put),
            web.post(f"{_SCHEDULE}/{{action:{_SCHEDULE_ACTIONS}}}", schedules.steer),
            web.post(f"{_SCHEDULE}/backfill", schedules.backfill),
            web.get(_CONNECTORS, connectors.all),
            web.post(
                f"{_CONNECTORS}/{{connector}}/{{action:{_CONNECTOR_ACTIONS}}}", connectors.steer
            ),
            web.get("/api/v1/dead-letters", letters.find),
            web.get("/api/v1/dead-letters/{letter}", letters.get),
            web.post(
                f"/api/v1/dead-letters/{{letter}}/{{action:{_LETTER_ACTIONS}}}", letters.settle
            ),
            web.get("/api/v1/overview", overview.overview),
            web.get("/api/v1/events", events.events, allow_head=False),
            web.get("/api/v1/runs", lists.find),
            web.get("/api/v1/runs/count", lists.count),
            web.post("/api/v1/runs/bulk", lists.bulk),
            web.get("/api/v1/runs/{run_id}", runs.get),
            web.get("/api/v1/runs/{run_id}/history", runs.history),
            web.get("/api/v1/runs/{run_id}/await", runs.await_),
            web.post("/api/v1/runs/{run_id}/fork", runs.fork),
            web.post(f"/api/v1/runs/{{run_id}}/{{action:{_ACTIONS}}}", runs.steer),
        ]
    )
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(runs.stop_waiting)
    app.on_shutdown.append(events.stop_telling)
    app.cleanup_ctx.append(forwarder.running)
    return app


def process_application(
    registry: CollectorRegistry, ready: Callable[[], str | None], access: Access = LOCAL_ONLY
) -> web.Application:
    """What a process serves that has no runs: health and metrics."""
    app = web.Application(middlewares=[problems, guarding(access)])
    process = ProcessViews(ready, registry)
    app.add_routes(
        [
            web.get("/healthz", process.healthz),
            web.get("/readyz", process.readyz),
            web.get("/metrics", process.metrics),
        ]
    )
    app.on_response_prepare.append(add_headers)
    return app
