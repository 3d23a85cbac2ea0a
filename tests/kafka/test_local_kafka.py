"""A broker from Kafka's own jars: it serves, comes back with its data, and leaves nothing."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streamwf.adapters.local_kafka import BrokerFailed, LocalKafka

TOPIC = "letters"


async def create_topic(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def produce(bootstrap: str, *values: bytes) -> None:
    largest = 20 * 1024 * 1024
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=largest) as producer:
        for value in values:
            await producer.send_and_wait(TOPIC, value)


async def consume(bootstrap: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(TOPIC, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


def listens(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.mark.parametrize("end", [LocalKafka.stop, LocalKafka.kill])
async def test_keeps_address_and_data_over_a_restart(
    own_kafka: LocalKafka, end: Callable[[LocalKafka], None]
) -> None:
    address = own_kafka.bootstrap
    await create_topic(address)
    await produce(address, b"a", b"b")

    assert own_kafka.pid is not None
    os.kill(own_kafka.pid, 0)
    await asyncio.to_thread(end, own_kafka)
    assert not own_kafka.running
    assert own_kafka.pid is None
    assert not listens(address)
    await asyncio.to_thread(own_kafka.start)

    assert own_kafka.bootstrap == address
    await produce(address, b"c")
    assert await consume(address, 3) == [b"a", b"b", b"c"]


async def test_takes_large_records(own_kafka: LocalKafka) -> None:
    await create_topic(own_kafka.bootstrap)
    large = b"x" * (15 * 1024 * 1024)
    await produce(own_kafka.bootstrap, large)
    assert await consume(own_kafka.bootstrap, 1) == [large]


def test_closing_leaves_neither_process_nor_data(own_kafka: LocalKafka) -> None:
    own_kafka.close()
    assert not listens(own_kafka.bootstrap)
    assert not own_kafka.data_dir.exists()


def test_a_directory_that_was_given_is_kept(tmp_path: Path) -> None:
    for _ in range(2):
        with LocalKafka(data_dir=tmp_path / "kafka") as broker:
            assert listens(broker.bootstrap)
    assert (tmp_path / "kafka" / "log" / "meta.properties").exists()


def test_bad_settings_are_shown_with_the_log() -> None:
    with (
        pytest.raises(BrokerFailed, match=r"could not format[^\n]*\n.*Unable to parse nonsense"),
        LocalKafka(settings={"listeners": "nonsense"}),
    ):
        pass


def test_a_failed_start_is_shown_with_the_log() -> None:
    broker = LocalKafka()
    host, _, port = broker.bootstrap.partition(":")
    with (
        socket.create_server((host, int(port))),
        pytest.raises(BrokerFailed, match=r"ended with exit code 1[^\n]*\n(.*\n)*.*already in use"),
        broker,
    ):
        pass
    assert not broker.running
    assert not broker.data_dir.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_the_broker_ends_with_a_parent_that_is_killed() -> None:
    program = (
        "from streamwf.adapters.local_kafka import LocalKafka\n"
        "broker = LocalKafka()\n"
        "broker.start()\n"
        "print(broker.bootstrap, broker.data_dir, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        address, data_dir = parent.stdout.readline().split()
        assert listens(address)
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while listens(address):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shutil.rmtree(data_dir)
