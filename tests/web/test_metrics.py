"""The metrics of a host, and what the documentation says of them."""

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from streamwf import Breaker, Run, Workflow
from streamwf.adapters.metrics import HostCollector, registry_of
from streamwf.shard import Shard
from streamwf.testing import engine
from tests.support import eventually
from tests.web.harness import Order, Status, Worker, orders

OrderRun = Run[Order, Status]

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"

NAMES = {
    "streamwf_events_total",
    "streamwf_dead_letters_total",
    "streamwf_runs",
    "streamwf_queue_depth",
    "streamwf_steps_running",
    "streamwf_steps_held",
    "streamwf_lag_alerts_total",
    "streamwf_shards",
    "streamwf_position",
    "streamwf_recovery_events",
    "streamwf_checkpoint_lag_events",
}


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    }


@pytest.fixture
def registry(worker: Worker) -> CollectorRegistry:
    return registry_of(worker.host)


async def test_runs_and_events(worker: Worker, registry: CollectorRegistry) -> None:
    held = await worker.trigger("o-1")
    await worker.reached(held, "PICKED")
    await worker.post(
        "/api/v1/workflows/orders/runs", {"foreign_id": "o-1", "object": {"price": 1}}
    )
    later = await worker.trigger("o-2", start_at="2099-01-01T00:00:00Z")
    await worker.post(f"/api/v1/runs/{later}/cancel")

    runs = {key: count for key, count in samples(registry, "streamwf_runs").items() if count}
    assert runs == {("orders", "PICKED", "RUNNING"): 1, ("orders", "CREATED", "CANCELLED"): 1}
    assert samples(registry, "streamwf_events_total") == {
        ("orders", "trigger", "accepted"): 2,
        ("orders", "trigger", "run_in_progress"): 1,
        ("orders", "moved", "accepted"): 1,
        ("orders", "cancel", "accepted"): 1,
    }
    assert samples(registry, "streamwf_steps_running") == {("orders",): 1, ("refunds",): 0}
    assert samples(registry, "streamwf_position") == {("orders", "0"): 5, ("refunds", "0"): 0}


async def test_a_run_without_a_status_is_at_the_start(
    worker: Worker, registry: CollectorRegistry
) -> None:
    request = (
        b'{"type":"trigger","subject":"k","data":{"price":1},"startat":"2099-01-01T00:00:00Z"}'
    )
    worker.host.logs["orders"].append(None, request, 0)
    await eventually(
        lambda: samples(registry, "streamwf_runs") == {("orders", "CREATED", "INITIATED"): 1}
    )


async def test_dead_letters(worker: Worker, registry: CollectorRegistry) -> None:
    name = "streamwf_dead_letters_total"
    assert samples(registry, name) == {("orders",): 0, ("refunds",): 0}
    worker.host.logs["orders"].append(None, b"rubbish", 0)
    await eventually(lambda: samples(registry, name) == {("orders",): 1, ("refunds",): 0})


async def test_what_waits_for_its_turn(worker: Worker, registry: CollectorRegistry) -> None:
    await worker.reached(await worker.trigger("o-1"), "PICKED")
    lane = worker.shard.dispatcher._lanes["PICKED"]
    lane.limit = 1
    await worker.reached(await worker.trigger("o-2"), "PICKED")
    depth = samples(registry, "streamwf_queue_depth")
    assert depth == {("orders", "CREATED"): 0, ("orders", "PICKED"): 1, ("refunds", "CREATED"): 0}


async def test_steps_that_are_held_and_those_that_start_too_late() -> None:
    calls: list[str] = []
    hour = timedelta(hours=1)
    workflow = Workflow("orders", Order, Status)

    @workflow.step(
        Status.CREATED, to=Status.SHIPPED, breaker=Breaker(1, hour), lag_alert=hour, parallel=1
    )
    async def ship(run: OrderRun) -> Status:
        calls.append(run.foreign_id)
        if len(calls) == 1:
            raise OSError("refused")
        return Status.SHIPPED

    async with engine(workflow) as app:
        registry = registry_of(app.host)

        def told() -> tuple[float, float]:
            [held] = samples(registry, "streamwf_steps_held").items()
            [late] = samples(registry, "streamwf_lag_alerts_total").items()
            assert held[0] == late[0] == ("orders", "CREATED")
            return held[1], late[1]

        assert told() == (0, 0)
        for number in range(4):
            await app.trigger(workflow, f"o-{number}", Order(price=number))
        await app.settle()
        assert told() == (1, 0)
        app.clock.advance(2 * hour)
        await app.settle()
        assert told() == (0, 4)
        # Counters never fall.
        app.host._shards.clear()
        assert told() == (0, 4)


async def test_recovery(worker: Worker, registry: CollectorRegistry) -> None:
    assert samples(registry, "streamwf_shards") == {
        ("orders", "active"): 1,
        ("orders", "recovering"): 0,
        ("refunds", "active"): 1,
        ("refunds", "recovering"): 0,
    }
    worker.shard.live, worker.shard.end = False, 12
    assert samples(registry, "streamwf_shards")["orders", "recovering"] == 1
    assert samples(registry, "streamwf_recovery_events")["orders", "0"] == 12


async def test_checkpoint_lag(worker: Worker, registry: CollectorRegistry) -> None:
    worker.shard.position, worker.shard.checkpointed = 12, 5
    assert samples(registry, "streamwf_checkpoint_lag_events")["orders", "0"] == 7


async def test_counters_go_on_when_a_shard_leaves_and_comes_back(
    worker: Worker, registry: CollectorRegistry
) -> None:
    await worker.reached(await worker.trigger("o-1"), "PICKED")
    moved = ("orders", "moved", "accepted")
    worker.shard.set_aside = 2

    def counted() -> tuple[float, float]:
        events = samples(registry, "streamwf_events_total")
        return events[moved], samples(registry, "streamwf_dead_letters_total")["orders",]

    assert counted() == (1, 2)
    shard = worker.host._shards.pop("orders")
    # What it counted after the last look is not lost either.
    shard.set_aside = 3
    assert counted() == counted() == (1, 3)
    fresh = clone(worker, shard)
    worker.host._shards["orders"] = fresh
    assert counted() == (1, 3)
    fresh.set_aside = 1
    assert counted() == (1, 4)
    worker.host._shards["orders"] = shard


def clone(worker: Worker, shard: Shard) -> Shard:
    """A shard like the one that left, before it has folded anything."""
    return Shard(
        orders(asyncio.Event()),
        shard.partition,
        shard.table,
        end=0,
        clock=worker.host.clock,
        threads=worker.host._threads,
        wake=lambda: None,
        misplaced=lambda _: False,
        limits=shard._limits,
    )


async def test_the_registry_of_the_process_is_left_alone(worker: Worker) -> None:
    text = prometheus_client.generate_latest(prometheus_client.REGISTRY)
    assert b"streamwf" not in text


async def test_the_documentation_lists_what_there_is(worker: Worker) -> None:
    await worker.trigger("o-1")
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(
            r"^\| `(streamwf_\w+)` \| (\w+) \| ([^|]+) \|", DOCUMENTATION.read_text(), re.M
        )
    }
    found = {
        sample.name: (family.type, tuple(sample.labels))
        for family in HostCollector(worker.host).collect()
        for sample in family.samples
    }
    assert found == documented
    assert found.keys() == NAMES


def test_queries_in_the_documentation_name_metrics_that_exist() -> None:
    assert set(re.findall(r"streamwf_\w+", DOCUMENTATION.read_text())) == NAMES
