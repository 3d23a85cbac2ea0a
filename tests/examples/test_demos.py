"""The demonstrations that `make demo` and `make demo-kafka` run, as processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from urllib.request import urlopen

import pytest

from examples.orders import REVIEW_ABOVE, Status
from examples.story import SLOW, ending, read_orders

#: Seconds that a demonstration may take.
PATIENCE = 60.0


def run(module: str, **environment: str) -> str:
    """What it writes; no control codes may be among it, for it is not written to a terminal."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    return done.stdout


def test_there_are_orders_of_every_kind() -> None:
    orders = read_orders()
    ids = [order.order_id for order in orders]
    assert len(set(ids)) == len(ids) >= 200
    assert {ending(order) for order in orders} == {
        Status.DELIVERED,
        Status.CANCELLED,
        Status.REFUNDED,
    }
    assert any(order.total > REVIEW_ABOVE for order in orders)
    assert next(order for order in orders if order.order_id == SLOW).bank == "slow"


def test_the_demo_ends_with_every_order_where_it_has_to_be() -> None:
    told = run("examples.demo")
    counts = Counter(ending(order).name for order in read_orders())
    for status, count in counts.items():
        assert re.search(rf"│ {status} +│ +{count} │", told)
    for line in ("lost: none", "there twice: none", "ended elsewhere: none", "0 differences"):
        assert line in told
    assert f"{sum(o.total > REVIEW_ABOVE for o in read_orders())} orders were looked at" in told


def test_the_demo_stays_when_asked_to() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "examples.demo"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KEEP": "1"},
    ) as process:
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        assert process.stdout
        kept = (re.search(r"Still there, until Ctrl-C: (\S+)", line) for line in process.stdout)
        url = next(found[1] for found in kept if found)
        with urlopen(f"{url}?limit=1", timeout=PATIENCE) as answer:
            assert json.load(answer)["runs"][0]["state"] == "COMPLETED"
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        alarm.cancel()


@pytest.mark.kafka
def test_the_demo_on_kafka_loses_nothing(kafka: str) -> None:
    told = run("examples.demo_kafka", KAFKA_BROKERS=kafka)
    assert "worker-2 is killed" in told
    assert "worker-2 is started again" in told
    for line in ("lost: none", "there twice: none", "ended elsewhere: none"):
        assert line in told
    assert f"has {len(read_orders())} runs, of which 0 differ" in told
