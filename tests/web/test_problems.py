"""Problem details: every error there and back again, and what is no error of ours."""

import inspect
import string
from typing import Any

import msgspec
import pytest

from streamwf import errors
from streamwf.adapters.problems import error_of, problem_of, status_of
from streamwf.errors import DataDirInUse, InvalidObject, NotReady, RunNotFound, StreamwfError
from tests.web.harness import Worker

CLASSES = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, StreamwfError)
]


def example(kind: type[StreamwfError]) -> StreamwfError:
    """An error with a value in every field that its message names."""
    text = inspect.cleandoc(kind.__doc__ or "")
    parsed = [(name, spec) for _, name, spec, _ in string.Formatter().parse(text) if name]
    counted = {name for name, spec in parsed if spec}
    return kind(**{name: 2 if name in counted else f"<{name}>" for name, _ in parsed})


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_the_way_over_http(kind: type[StreamwfError]) -> None:
    error = example(kind)
    wire = msgspec.json.encode(problem_of(error, 400))

    again = error_of(msgspec.json.decode(wire))

    assert type(again) is kind
    assert str(again) == str(error)
    assert again.fields == error.fields


def test_members_of_the_standard_keep_their_meaning() -> None:
    error = InvalidObject(workflow="orders", detail="price: wrong", errors=[{"field": "price"}])
    members = problem_of(error, 422)
    assert (members["status"], members["detail"]) == (422, str(error))
    assert members["error_detail"] == "price: wrong"
    assert members["errors"] == [{"field": "price"}]


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"type": "about:blank", "detail": "x"},
        {"type": "urn:streamwf:error:NoSuchError"},
        {"type": "urn:streamwf:error:RunNotFound"},
        {"type": "urn:streamwf:error:InvalidQuery", "field": "x", "why": "y", "newer": 1},
        {"type": "urn:streamwf:error:Any"},
        {"type": 7},
    ],
)
def test_a_problem_that_tells_no_error(members: dict[str, Any]) -> None:
    assert error_of(members) is None


def test_a_status_holds_for_subclasses() -> None:
    class Special(RunNotFound):
        """{run_id}"""

    assert status_of(Special(run_id="x")) == 404
    assert status_of(DataDirInUse(path="/data")) is None


async def test_what_is_nowhere(worker: Worker) -> None:
    reply = await worker.get("/api/v2/runs")
    assert reply.status == 404
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["type"] == "about:blank"
    assert "/api/v2/runs" in reply.json["detail"]


async def test_a_method_that_is_not_possible(worker: Worker) -> None:
    reply = await worker.ask("DELETE", "/api/v1/runs/x")
    assert reply.status == 405
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD"}


@pytest.mark.parametrize("error", [RuntimeError("secret"), DataDirInUse(path="secret")])
async def test_what_nobody_expected_is_logged_and_not_told(
    worker: Worker, monkeypatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(run_id: str) -> None:
        raise error

    monkeypatch.setattr(worker.operations, "get", fail)
    reply = await worker.get("/api/v1/runs/x")

    assert reply.status == 500
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body
    [line] = caplog.records
    assert (line.message, vars(line)["path"]) == ("request_failed", "/api/v1/runs/x")
    assert line.exc_info is not None
    assert line.exc_info[1] is error


async def test_every_503_says_when_to_come_back(worker: Worker, monkeypatch) -> None:
    def fail(name: str) -> None:
        raise NotReady(what="it")

    monkeypatch.setattr(worker.operations, "describe", fail)
    reply = await worker.get("/api/v1/workflows/orders")
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
