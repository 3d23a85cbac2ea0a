"""What a worker tells of itself: its metrics, and its lines."""

import json
import re
import sys
from pathlib import Path

import aiohttp
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from streamwf.adapters.described import METRICS
from streamwf.adapters.kafka.topics import ensure_topics
from tests.docs.test_logging_page import LINES, RUN_FIELDS
from tests.kafka.cluster import PARTITIONS, Cluster, Worker, until

Samples = dict[str, dict[tuple[str, ...], float]]

RUNS = 50

#: Labels in an order that all metrics have them in.
ORDER = [
    *("workflow", "status", "kind", "error", "type", "verdict", "reason", "previous"),
    *("process", "state", "role", "shard", "part", "le"),
]

#: What every line has, by whatever it was logged.
OWN = {"event", "level", "logger", "time", "exception"}


def _place(label: tuple[str, str]) -> int:
    return ORDER.index(label[0])


async def metrics(worker: Worker) -> Samples:
    """The samples of a worker, by name and by the values of their labels."""
    async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/metrics") as answer:
        text = await answer.text()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(f"{family.name}_total" if family.type == "counter" else family.name, {})
        for sample in family.samples:
            # The text has them in the order of their names.
            labels = tuple(value for _, value in sorted(sample.labels.items(), key=_place))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


async def opened(cluster: Cluster, name: str = "only", **environment: str) -> Worker:
    """A worker that has opened all shards."""
    worker = cluster.worker(name, **environment).start()
    await until(lambda: worker.says("shard_opened") >= PARTITIONS, "all shards open", 30)
    await until(lambda: worker.says("worker_listens") >= 1, "it listens", 30)
    return worker


async def test_a_worker_has_every_metric(cluster: Cluster) -> None:
    await cluster.trigger(f"o-{number}" for number in range(RUNS))
    await cluster.trigger(["broken"], item="broken")
    worker = await opened(cluster)

    async def done() -> bool:
        errors = (await metrics(worker))["streamwf_step_errors_total"]
        return await cluster.completed() == RUNS and sum(errors.values()) >= 2

    await until(done, "all runs, and two errors")
    # What was in the log at the start may have been folded before; what comes now was not.
    await cluster.trigger(["later"])

    async def folded() -> bool:
        found = await metrics(worker)
        return await cluster.completed() == RUNS + 1 and not any(
            found["streamwf_checkpoint_lag_events"].values()
        )

    await until(folded, "a checkpoint of all")
    found = await metrics(worker)
    described = {metric.name for metric in METRICS} | {"streamwf_table_memory_bytes"}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in found} >= described
    assert {re.sub("_(bucket|sum|count|created)$", "", name) for name in found} <= described
    assert found["streamwf_run_state_changes_total"]["orders", "RUNNING", "COMPLETED"] == RUNS + 1
    assert found["streamwf_step_errors_total"].keys() == {
        ("orders", "PICKED", "step", "ValueError")
    }
    assert found["streamwf_step_duration_seconds_count"]["orders", "PACKED"] == RUNS + 1
    memory = found["streamwf_table_memory_bytes"]
    assert memory.keys() == {("buffers",), ("cache",)}
    assert memory["buffers",] > 0
    assert found["streamwf_event_latency_seconds_count"]["orders",] >= 4
    assert found["streamwf_checkpoint_duration_seconds_count"]["orders",] >= 1
    assert found["streamwf_checkpoint_failures_total"] == {("orders",): 0}
    assert found["streamwf_shards"] == {("orders", "active"): 4, ("orders", "recovering"): 0}
    assert sum(found["streamwf_roles"].values()) == 3 * PARTITIONS


async def test_lag_of_a_log_that_ends_with_a_transaction(cluster: Cluster) -> None:
    await cluster.trigger(["first"])
    worker = await opened(cluster)
    producer = AIOKafkaProducer(
        bootstrap_servers=cluster.settings.brokers, transactional_id=cluster.topics.events
    )
    await producer.start()
    try:
        async with producer.transaction():
            request = {"type": "pause", "subject": "nobody"}
            await producer.send_and_wait(cluster.topics.events, json.dumps(request).encode())
    finally:
        await producer.stop()

    async def refused() -> bool:
        skipped = (await metrics(worker))["streamwf_events_skipped_total"]
        return skipped.get(("orders", "no_such_run")) == 1

    await until(refused, "the event of the transaction")

    async def caught_up() -> bool:
        found = await metrics(worker)
        lags = (found["streamwf_lag_events"], found["streamwf_lag_seconds"])
        return all(len(lag) == PARTITIONS and not any(lag.values()) for lag in lags)

    await until(caught_up, "no lag")
    # Nor does the next owner wait for a record that is not there.
    assert worker.stop() == 0
    worker.wipe()
    worker = await opened(cluster, "next")

    async def active() -> bool:
        found = await metrics(worker)
        return found["streamwf_shards"]["orders", "active"] == PARTITIONS

    await until(active, "all shards active")


async def test_lag_grows_while_a_worker_has_too_much_to_do(cluster: Cluster) -> None:
    """A worker that is stopped can't be asked; one whose fold is held up can."""
    worker = await opened(cluster, HELD_UP="1")
    await cluster.trigger(f"o-{number}" for number in range(RUNS))

    async def behind() -> bool:
        found = await metrics(worker)
        late = max(found["streamwf_lag_seconds"].values(), default=0.0)
        return sum(found["streamwf_lag_events"].values()) == RUNS and late > 1

    await until(behind, "the lag")


async def test_every_line_of_a_worker_is_documented(cluster: Cluster) -> None:
    await cluster.trigger(["o-1"])
    await cluster.trigger(["o-2"], item="broken")
    await cluster.produce(b"rubbish", partition=0)
    flows = str(Path(__file__).parent / "flows_debugged.py")
    command = (sys.executable, "-m", "streamwf.cli", "worker", flows)
    worker = Worker("only", cluster.folder, cluster.environment, command).start()
    cluster.workers.append(worker)
    await until(lambda: worker.says("dead_letter") >= 1, "the dead letter")
    await until(lambda: worker.says("job_failed") >= 1, "the step that fails")

    async def done() -> bool:
        return await cluster.completed() == 1

    await until(done, "the other run")
    assert worker.stop() == 0
    lines = [json.loads(line) for line in worker.text().splitlines()]
    told = [line for line in lines if line["logger"].startswith("streamwf")]
    assert {line["event"] for line in told} >= {
        *("worker_listens", "shard_opened", "shard_closed", "dead_letter"),
        *("run_changed", "job_begun", "job_ended", "job_failed", "record_set_aside"),
    }
    for line in told:
        level, fields = LINES[line["event"]]
        assert line["level"] == level
        assert line.keys() - OWN <= fields | RUN_FIELDS, line
        if line["event"] == "dead_letter":
            assert "run_id" not in line
        if "run_id" in line:
            assert line["role"].endswith(f"-consumer-{line['shard'] + 1}-of-{PARTITIONS}")
    # What steps log, on the loop and in a thread.
    own = [(line["event"], line["foreign_id"]) for line in lines if line["logger"] == "shop"]
    names = ("o-1", "o-2")
    assert sorted(own) == [(what, name) for what in ("picked", "shipping") for name in names]
    assert "it slipped" not in worker.text()


async def test_a_worker_logs_by_a_logger_that_is_given(cluster: Cluster) -> None:
    await ensure_topics(["orders"], cluster.settings)
    await cluster.produce(b"rubbish")
    worker = await opened(cluster, OWN_LOGGER="1")
    await until(lambda: worker.says("own dead_letter") == 1, "the dead letter")
    assert worker.stop() == 0
    assert worker.says("own worker_listens ['page', 'url']") == 1
    assert worker.says("own shard_closed") == PARTITIONS
    names = "|".join(LINES)
    assert re.findall(rf"^(?!own ).*\b(?:{names})\b.*", worker.text(), re.M) == []
