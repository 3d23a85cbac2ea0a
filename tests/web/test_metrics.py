"""The metrics of a host, and what the documentation says of them."""

import asyncio
import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry

from streamwf import Breaker, Fatal, Retry, Run, Workflow
from streamwf.adapters.described import METRICS
from streamwf.adapters.metrics import HostCollector, registry_of
from streamwf.adapters.relay_metrics import RelayCollector
from streamwf.adapters.table_metrics import TableCollector
from streamwf.relay import Relay
from streamwf.sources import Message, Start, from_iterator
from streamwf.testing import engine
from tests.support import eventually, record
from tests.web.harness import Order, Status, Worker

OrderRun = Run[Order, Status]

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "metrics.md"

PAGE = DOCUMENTATION.read_text()

NAMES = {metric.name for metric in METRICS}

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


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


async def test_counters_stay_when_a_shard_leaves(
    worker: Worker, registry: CollectorRegistry
) -> None:
    await worker.reached(await worker.trigger("o-1"), "PICKED")
    worker.host.logs["orders"].append(None, b"rubbish", 0)

    def counted() -> tuple[float, float]:
        events = samples(registry, "streamwf_events_total")
        dead = samples(registry, "streamwf_dead_letters_total")
        return events["orders", "moved", "accepted"], dead["orders",]

    await eventually(lambda: counted() == (1, 1))
    shard = worker.host._shards.pop("orders")
    assert samples(registry, "streamwf_position") == {("refunds", "0"): 0}
    assert counted() == (1, 1)
    worker.host._shards["orders"] = shard


async def test_the_registry_of_the_process_is_left_alone(worker: Worker) -> None:
    text = prometheus_client.generate_latest(prometheus_client.REGISTRY)
    assert b"streamwf" not in text


# ---- how far the log is folded


async def test_events_that_changed_nothing(worker: Worker, registry: CollectorRegistry) -> None:
    await worker.trigger("o-1")
    again = {"foreign_id": "o-1", "object": {"price": 1}}
    await worker.post("/api/v1/workflows/orders/runs", again)
    log = worker.host.logs["orders"]
    log.append(None, b"rubbish", 0)
    log.append(None, b'{"type":"pause","subject":"nobody"}', 0)
    await eventually(lambda: worker.shard.position == len(log.records) == 5)
    assert samples(registry, "streamwf_events_skipped_total") == {
        ("orders", "unreadable"): 1,
        ("orders", "no_such_run"): 1,
        ("orders", "run_in_progress"): 1,
    }


async def test_what_belongs_elsewhere_is_forwarded_and_not_folded() -> None:
    async with engine(declared()) as app:
        [shard] = app.host.shards("orders")
        shard._misplaced = lambda name: name == "elsewhere"
        log = app.host.logs["orders"]
        log.append(None, b'{"type":"pause","subject":"elsewhere"}', 0)
        await app.settle()
        skipped = samples(registry_of(app.host), "streamwf_events_skipped_total")
        assert skipped == {("orders", "forwarded"): 1, ("orders", "unreadable"): 1}


async def test_lag() -> None:
    async with engine(declared()) as app:
        registry, log = registry_of(app.host), app.host.logs["orders"]

        def lag() -> tuple[float, float]:
            [events] = samples(registry, "streamwf_lag_events").values()
            [seconds] = samples(registry, "streamwf_lag_seconds").values()
            return events, seconds

        def append() -> None:
            now = int(app.clock.now().timestamp() * 1000)
            log.append(None, b'{"type":"pause","subject":"nobody"}', now)

        append()
        await app.settle()
        app.clock.advance(HOUR)
        assert lag() == (0, 0)
        # Until the loop has its turn, nothing is folded. The hour before counts for nothing.
        app.clock.advance(SECOND)
        append()
        assert lag() == (1, 1)
        app.clock.advance(SECOND)
        append()
        assert lag() == (2, 2)
        await app.settle()
        assert lag() == (0, 0)
        app.clock.advance(HOUR)
        append()
        # What was folded last is the better witness here.
        assert lag() == (1, 3600)


async def test_lag_that_nobody_has_looked_at_counts_from_the_last_event() -> None:
    async with engine(declared()) as app:
        log = app.host.logs["orders"]
        stamp = int(app.clock.now().timestamp() * 1000)
        log.append(None, b'{"type":"pause","subject":"nobody"}', stamp)
        await app.settle()
        app.clock.advance(HOUR)
        log.append(None, b'{"type":"pause","subject":"nobody"}', stamp)
        assert samples(registry_of(app.host), "streamwf_lag_seconds") == {("orders", "0"): 3600}


def buckets(
    registry: CollectorRegistry, name: str, *labels: str
) -> tuple[dict[str, float], float, float]:
    """The buckets that have grown, how many values there are, and their sum."""
    counts = samples(registry, f"{name}_bucket")
    grown, before = {}, 0.0
    for key, count in counts.items():
        if key[:-1] == labels:
            if count > before:
                grown[key[-1]] = count - before
            before = count
    total = samples(registry, f"{name}_sum")[labels]
    return grown, samples(registry, f"{name}_count")[labels], total


async def test_latency_is_from_the_append_to_the_fold() -> None:
    workflow = declared()
    async with engine(workflow) as app:
        registry, log = registry_of(app.host), app.host.logs["orders"]
        now = app.clock.now().timestamp()
        # The second one is by a clock that is ahead.
        for age in (0.02, -5.0, 40.0, 4_000.0):
            stamp = int((now - age) * 1000)
            log.append(None, b'{"type":"pause","subject":"nobody"}', stamp)
        await app.settle()
        grown, count, total = buckets(registry, "streamwf_event_latency_seconds", "orders")
        assert grown == {"0.001": 1, "0.025": 1, "60.0": 1, "+Inf": 1}
        assert (count, round(total, 2)) == (4, 4040.02)
    # What a shard finds in its log when it is opened may have been folded elsewhere.
    async with engine(workflow, former=app) as again:
        registry = registry_of(again.host)
        assert buckets(registry, "streamwf_event_latency_seconds", "orders")[1] == 0


# ---- steps, runs, timeouts


def declared(fails: int = 0) -> Workflow[Order, Status]:
    """From CREATED to PICKED, which a timeout leaves; the first tries of its step fail."""
    workflow, calls = Workflow("orders", Order, Status), list[str]()

    @workflow.step(Status.CREATED, to=Status.PICKED)
    async def pick(run: OrderRun) -> Status:
        calls.append(run.foreign_id)
        if len(calls) <= fails:
            raise OSError("refused")
        return Status.PICKED

    @workflow.timeout(Status.PICKED, after=HOUR, to=Status.LOST)
    async def lose(run: OrderRun) -> Status:
        if run.foreign_id == "gate" and run.attempt == 1:
            raise KeyError(run.foreign_id)
        return Status.LOST

    return workflow


async def test_steps_are_timed_and_their_errors_counted() -> None:
    workflow = declared(fails=2)
    async with engine(workflow) as app:
        registry = registry_of(app.host)
        await app.trigger(workflow, "gate", Order(price=1))
        await app.advance(3 * HOUR)
        name = "streamwf_step_duration_seconds"
        assert buckets(registry, name, "orders", "CREATED")[1] == 3
        assert buckets(registry, name, "orders", "(timer)")[1] == 2
        assert samples(registry, "streamwf_step_errors_total") == {
            ("orders", "CREATED", "step", "OSError"): 2,
            ("orders", "PICKED", "timer", "KeyError"): 1,
        }


async def test_a_step_is_timed_from_its_start_to_its_end(
    worker: Worker, registry: CollectorRegistry
) -> None:
    run_id = await worker.trigger("o-1")
    await worker.reached(run_id, "PICKED")
    begun = time.perf_counter()
    await asyncio.sleep(0.02)
    waited = time.perf_counter() - begun
    worker.gate.set()
    await worker.reached(run_id, "SHIPPED")
    _, count, total = buckets(registry, "streamwf_step_duration_seconds", "orders", "PICKED")
    assert count == 1
    assert total >= waited


async def test_changes_of_state() -> None:
    workflow = declared()
    async with engine(workflow) as app:
        first = await app.trigger(workflow, "o-1", Order(price=1))
        await app.settle()
        await app.client.pause(first.run_id)
        await app.client.cancel(first.run_id)
        # A new run of the same foreign id comes from no state.
        await app.trigger(workflow, "o-1", Order(price=1))
        await app.advance(HOUR)
        assert samples(registry_of(app.host), "streamwf_run_state_changes_total") == {
            ("orders", "", "INITIATED"): 2,
            ("orders", "INITIATED", "RUNNING"): 2,
            ("orders", "RUNNING", "PAUSED"): 1,
            ("orders", "PAUSED", "CANCELLED"): 1,
            ("orders", "RUNNING", "COMPLETED"): 1,
        }


async def test_timers() -> None:
    workflow = declared()
    async with engine(workflow) as app:
        registry = registry_of(app.host)

        def timers() -> tuple[float, float]:
            [pending] = samples(registry, "streamwf_timers_pending").values()
            [overdue] = samples(registry, "streamwf_timers_overdue").values()
            return pending, overdue

        assert timers() == (0, 0)
        for name in ("o-1", "o-2"):
            await app.trigger(workflow, name, Order(price=1))
        await app.settle()
        assert timers() == (2, 0)
        app.clock.advance(HOUR)
        # Until the loop has its turn, nobody has looked at the agenda.
        assert timers() == (2, 2)
        await app.settle()
        assert timers() == (0, 0)


async def test_a_timeout_that_is_being_answered_is_overdue() -> None:
    gate = asyncio.Event()
    workflow = declared()

    @workflow.timeout(Status.PICKED, after=SECOND, to=Status.SHIPPED)
    async def wait(run: OrderRun) -> Status:
        await gate.wait()
        return Status.SHIPPED

    async with engine(workflow) as app:
        registry = registry_of(app.host)

        def overdue() -> float:
            return samples(registry, "streamwf_timers_overdue")["orders",]

        await app.trigger(workflow, "o-1", Order(price=1))
        await app.settle()
        app.clock.advance(2 * SECOND)
        app.host.run_due()
        [shard] = app.host.shards("orders")
        await eventually(lambda: shard.dispatcher.running)
        assert overdue() == 1
        gate.set()
        await app.settle()
        assert overdue() == 0


async def test_roles(worker: Worker, registry: CollectorRegistry) -> None:
    await worker.reached(await worker.trigger("o-1"), "PICKED")

    def roles() -> set[tuple[str, ...]]:
        return {key for key, count in samples(registry, "streamwf_roles").items() if count}

    assert roles() == {
        ("orders", "CREATED", "consumer", "idle"),
        ("orders", "PICKED", "consumer", "active"),
        ("refunds", "CREATED", "consumer", "idle"),
    }
    worker.shard.live = False
    assert ("orders", "PICKED", "consumer", "stopped") in roles()


async def test_a_status_that_somebody_made_up_is_no_label(
    worker: Worker, registry: CollectorRegistry
) -> None:
    log = worker.host.logs["orders"]
    for number in range(3):
        status = f"MADE_UP_{number}"
        request = {"type": "trigger", "subject": f"o-{number}", "status": status, "data": {}}
        log.append(None, json.dumps(request).encode(), 0)

    def runs() -> dict[tuple[str, ...], float]:
        found = samples(registry, "streamwf_runs")
        return {key: count for key, count in found.items() if count}

    await eventually(lambda: runs() == {("orders", "(unknown)", "CANCELLED"): 3})
    assert b"MADE_UP" not in prometheus_client.generate_latest(registry)


# ---- checkpoints, dead letters


async def test_checkpoints(worker: Worker, registry: CollectorRegistry) -> None:
    await worker.trigger("o-1")
    name = "streamwf_checkpoint_duration_seconds"
    await eventually(lambda: buckets(registry, name, "orders")[1] > 0)
    failed = "streamwf_checkpoint_failures_total"
    assert samples(registry, failed) == {("orders",): 0, ("refunds",): 0}


async def test_a_checkpoint_that_fails_is_counted_though_its_shard_goes(
    worker: Worker, registry: CollectorRegistry
) -> None:
    shard = worker.shard
    shard.rows.change("o-9", None, record(foreign_id="o-9"))
    shard.position += 1
    checkpoint = shard.checkpoint()
    assert checkpoint is not None
    shard.failed(checkpoint)
    worker.host._shards.pop("orders")
    found = samples(registry, "streamwf_checkpoint_failures_total")
    assert found == {("orders",): 1, ("refunds",): 0}
    name = "streamwf_checkpoint_duration_seconds"
    assert buckets(registry, name, "orders")[1] == 0
    worker.host._shards["orders"] = shard


async def test_what_a_connector_can_not_use_is_a_dead_letter() -> None:
    workflow = declared()

    async def lines(position: str | None):
        if position is None:
            yield "1", b"rubbish"

    @workflow.connector(from_iterator(lines), retry=Retry(attempts=1))
    async def read(message: Message) -> Start[Order, Status]:
        raise Fatal("no order")

    async with engine(workflow) as app:
        registry = registry_of(app.host)
        name = "streamwf_dead_letters_total"
        await eventually(lambda: samples(registry, name) == {("orders",): 1})


# ---- formats, and what the documentation says


async def test_exemplars_lead_to_traces(worker: Worker) -> None:
    request = {
        "type": "trigger",
        "subject": "o-1",
        "data": {"price": 1},
        "traceparent": TRACEPARENT,
        "startat": "2099-01-01T00:00:00Z",
    }
    now = int(worker.host.clock.now().timestamp() * 1000)
    worker.host.logs["orders"].append(None, json.dumps(request).encode(), now)
    await eventually(lambda: worker.shard.position == 1)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
    opened = await worker.get("/metrics", headers=accept)
    assert opened.headers["Content-Type"].startswith("application/openmetrics-text")
    [line] = [each for each in opened.body.decode().splitlines() if TRACE in each]
    assert line.startswith('streamwf_event_latency_seconds_bucket{le="')
    assert f' # {{trace_id="{TRACE}"}} ' in line
    plain = await worker.get("/metrics")
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert TRACE not in plain.body.decode()


async def test_a_step_whose_result_is_of_a_trace_is_an_exemplar(
    worker: Worker, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = worker.shard.dispatcher._executor.results
    made = results.event

    def traced(*given: Any, **fields: Any) -> Any:
        return made(*given, **fields, traceparent=TRACEPARENT)

    monkeypatch.setattr(results, "event", traced)
    monkeypatch.setattr(results, "moved", lambda record, *_: traced(record, "skipped"))
    await worker.trigger("o-1")

    def exemplars() -> set[tuple[str, str | None, str]]:
        return {
            (family.name, sample.labels.get("status"), sample.exemplar.labels["trace_id"])
            for family in registry.collect()
            for sample in family.samples
            if sample.exemplar is not None
        }

    assert await eventually(lambda: len(exemplars()) == 2)
    assert exemplars() == {
        ("streamwf_step_duration_seconds", "CREATED", TRACE),
        ("streamwf_event_latency_seconds", None, TRACE),
    }


async def test_every_metric_is_there_as_it_is_described(worker: Worker) -> None:
    await worker.trigger("o-1")
    for family in HostCollector(worker.host).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        [described] = [metric for metric in METRICS if metric.name == name]
        assert family.type == described.type
        for sample in family.samples:
            assert tuple(label for label in sample.labels if label != "le") == described.labels
    found = {family.name for family in HostCollector(worker.host).collect()}
    assert found == {metric.name.removesuffix("_total") for metric in METRICS}


def test_names_follow_prometheus() -> None:
    for metric in METRICS:
        assert re.fullmatch(r"streamwf_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.type == "counter")
        if metric.type == "histogram":
            assert metric.name.endswith("_seconds")
        assert not {"run_id", "foreign_id", "le"} & set(metric.labels)


def test_queries_in_the_documentation_name_metrics_that_exist(worker: Worker) -> None:
    # A relay is asked only for what it knows already.
    relay = RelayCollector(Relay(None, worker.host))  # type: ignore[arg-type]
    of_tables = TableCollector(dict)
    beside = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in (*relay.collect(), *of_tables.collect())
    }
    named = {re.sub("_bucket$", "", name) for name in re.findall(r"streamwf_\w+", PAGE)}
    assert named == NAMES | beside


def test_every_label_is_explained() -> None:
    labels = {label for metric in METRICS for label in metric.labels} - {"workflow", "role"}
    explained = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (?!counter|gauge|histogram)", PAGE, re.M)
    assert labels == {label for row in explained for label in re.findall(r"\w+", row)}
