"""Traces over HTTP: a request's header leads to a run, whichever worker owns it."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace

from tests.tracing import Spans, collecting, told
from tests.web.harness import Order, Pair, Status, Worker

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLERS = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01"}


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collecting() as collected:
        yield collected


def asked(foreign_id: str) -> dict[str, Any]:
    return {"foreign_id": foreign_id, "object": {"price": 1}}


# Collecting begins before the workers do: that is when they look whether anybody does.


async def test_a_header_leads_to_a_run(spans: Spans, worker: Worker) -> None:
    reply = await worker.post("/api/v1/workflows/orders/runs", asked("o-1"), headers=CALLERS)
    await worker.reached(reply.json["run_id"], "PICKED")
    assert [told(span) for span in spans.all()] == [
        "trigger orders",
        "step orders.CREATED (moved PICKED)",
    ]
    assert spans.one("trigger orders")["parent_id"] == "0xb7ad6b7169203331"
    assert {span["context"]["trace_id"] for span in spans.all()} == {f"0x{TRACE_ID}"}


async def test_a_request_leaves_nothing_to_the_next_on_its_connection(
    spans: Spans, worker: Worker
) -> None:
    await worker.post("/api/v1/workflows/orders/runs", asked("o-1"), headers=CALLERS)
    await worker.post("/api/v1/workflows/orders/runs", asked("o-2"))
    assert spans.named("trigger orders")[1]["parent_id"] is None


@pytest.mark.parametrize("wait", ["true", "false"])
async def test_a_header_goes_on_to_the_worker_that_owns_the_run(
    spans: Spans, pair: Pair, wait: str
) -> None:
    path = f"/api/v1/workflows/orders/runs?wait={wait}"
    await pair.a.post(path, asked("b-1" if wait == "true" else "a-1"), headers=CALLERS)
    assert spans.one("trigger orders")["parent_id"] == "0xb7ad6b7169203331"


async def test_steering_by_another_worker_is_in_the_trace_of_who_asks(
    spans: Spans, pair: Pair
) -> None:
    run_id = await pair.b.trigger("b-1")
    await pair.a.post(f"/api/v1/runs/{run_id}/pause", {}, headers=CALLERS)
    assert spans.one("pause orders")["context"]["trace_id"] == f"0x{TRACE_ID}"


async def test_a_client_is_followed_to_the_worker(spans: Spans, worker: Worker) -> None:
    async with worker.client() as client:
        with trace.get_tracer("tests").start_as_current_span("shop"):
            run_id = await client.trigger(worker.workflow, "o-1", Order(price=1), wait=True)
        await client.await_(worker.workflow, run_id, Status.PICKED)
    assert spans.shown(note=told) == (
        "shop\n  trigger orders\n    step orders.CREATED (moved PICKED)\n"
    )
