"""The document of the API, as it is served."""

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from streamwf.adapters.web import NoPeers, application
from streamwf.adapters.web.page import SETTINGS, page_paths
from streamwf.embedded import EmbeddedHost
from streamwf.operations import Operations
from tests.web.harness import Worker


async def test_it_is_valid_and_served(worker: Worker) -> None:
    reply = await worker.get("/openapi.json")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.json["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(reply.json).validate()


async def test_it_has_every_route(worker: Worker) -> None:
    paths = (await worker.get("/openapi.json")).json["paths"]
    views = application(Operations(EmbeddedHost()), NoPeers(), lambda: None)
    served = {
        (route.method.lower(), route.resource.canonical.replace("{asked}", "await"))
        if route.method == "GET"
        else (route.method.lower(), route.resource.canonical)
        for route in views.router.routes()
        if route.resource and route.method != "HEAD"
    }
    told = {(method, path) for path, methods in paths.items() for method in methods}
    beside = {"/openapi.json", SETTINGS} | page_paths()
    assert told == served - {("get", path) for path in beside}


async def test_it_has_nothing_of_this_machine_or_of_the_workflows(worker: Worker) -> None:
    """It is the same wherever it is asked for, so that clients can be made of it."""
    told = json.dumps((await worker.get("/openapi.json")).json)
    assert "orders" not in told
    assert str(worker.server.port) not in told
