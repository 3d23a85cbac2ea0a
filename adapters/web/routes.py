"""The web application that every host serves: the HTTP API, health and metrics."""

from collections.abc import Callable

from aiohttp import web

from streamwf.adapters.metrics import registry_of
from streamwf.adapters.web.answers import add_headers, problems
from streamwf.adapters.web.elsewhere import Elsewhere
from streamwf.adapters.web.forwarding import DEADLINE, Forwarder, Peers
from streamwf.adapters.web.handlers import ProcessViews, RunViews, WorkflowViews
from streamwf.adapters.web.reading import SLACK
from streamwf.operations import Operations


def application(
    operations: Operations,
    peers: Peers,
    ready: Callable[[], str | None],
    *,
    deadline: float = DEADLINE,
) -> web.Application:
    """peers: where the other workers are; `NoPeers()` if there are none.

    ready: the reason why this worker can't say yet what it owns; None when it can. It has to name
    one from the moment that ownership may change until all that came of it is recovered: while no
    worker does, a run that is found nowhere is said not to exist.

    deadline: seconds that other workers have to answer what is forwarded to them.
    """
    app = web.Application(
        middlewares=[problems], client_max_size=operations.host.max_record_bytes + SLACK
    )
    forwarder = Forwarder(peers, deadline)
    elsewhere = Elsewhere(forwarder, ready)
    process = ProcessViews(ready, registry_of(operations.host))
    workflows = WorkflowViews(operations, elsewhere)
    runs = RunViews(operations, elsewhere)
    app.add_routes(
        [
            web.get("/healthz", process.healthz),
            web.get("/readyz", process.readyz),
            web.get("/metrics", process.metrics),
            web.get("/api/v1/workflows", workflows.all),
            web.get("/api/v1/workflows/{name}", workflows.one),
            web.post("/api/v1/workflows/{name}/runs", runs.trigger),
            web.get("/api/v1/runs", runs.find),
            web.get("/api/v1/runs/{run_id}", runs.get),
            web.get("/api/v1/runs/{run_id}/history", runs.history),
            web.get("/api/v1/runs/{run_id}/await", runs.await_),
            web.post("/api/v1/runs/{run_id}/{action:pause|resume|cancel}", runs.steer),
        ]
    )
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(runs.stop_waiting)
    app.cleanup_ctx.append(forwarder.running)
    return app
