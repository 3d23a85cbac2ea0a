"""A point of the benchmark of growth: what waits in the tables is there before the rest begins."""

import json
from collections import Counter

import pytest

from benchmarks import growth
from streamwf.adapters.kafka.topics import Topics
from tests.kafka.cluster import PARTITIONS, Cluster

WAITING = {"CALLED": 9, "TIMED": 8}


async def test_runs_wait_in_the_tables_while_others_are_measured(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "TRANSITIONS", 60)
    point = growth.Point(PARTITIONS, called=WAITING["CALLED"], timed=WAITING["TIMED"])
    await growth.measure(cluster.settings, point)
    topic = Topics.of("growing", cluster.settings).events
    records = await cluster.records(topic, committed=True)
    events = [json.loads(record.value) for record in records]
    assert Counter((event["type"], event["status"]) for event in events) == {
        **{(kind, status): n for status, n in WAITING.items() for kind in ("trigger", "started")},
        ("trigger", "S0"): 20,
        ("moved", "S1"): 20,
        ("moved", "S2"): 20,
        ("moved", "S3"): 20,
    }
    timed = {event["status"] for event in events if event.get("timers")}
    assert timed == {"TIMED"}
    waits = [
        (record.partition, event["status"] not in WAITING)
        for record, event in zip(records, events, strict=True)
    ]
    assert waits == sorted(waits)
