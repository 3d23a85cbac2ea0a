"""Processes on a database that are killed, stopped and robbed of it lose nothing."""

import signal

import pytest

from tests.kafka.cluster import until
from tests.servers import Postgres
from tests.stored.conftest import Crowds
from tests.stored.crowd import Crowd

RUNS = 500


async def some_more(crowd: Crowd, runs: int) -> None:
    begun = await crowd.completed()

    async def moved_on() -> bool:
        return await crowd.completed() > min(begun + runs // 10, runs - 1)

    await until(moved_on, "some more runs complete")


@pytest.mark.timeout(300)
async def test_a_process_on_a_file_is_killed_twice(crowd_on: Crowds, sqlite_url: str) -> None:
    crowd = crowd_on(sqlite_url)
    process = crowd.process("only", STEP_SECONDS="0.05").start()
    await crowd.ready(process)
    await crowd.trigger([f"order-{number}" for number in range(RUNS)])
    for _ in range(2):
        await some_more(crowd, RUNS)
        process.kill()
        process.start()
    await crowd.nothing_lost_and_nothing_twice(RUNS)
    # All may have been done before it was killed for the last time.
    await crowd.ready(process)
    assert process.stop() == 0


@pytest.mark.timeout(300)
async def test_of_two_processes_one_is_killed_twice(crowd_on: Crowds, postgres_url: str) -> None:
    crowd = crowd_on(postgres_url)
    first = crowd.process("first", STEP_SECONDS="0.05").start()
    second = crowd.process("second", STEP_SECONDS="0.05").start()
    await crowd.ready(first)
    await crowd.ready(second)
    await until(lambda: second.says("shard_opened") > 0, "the second process has a share")
    await crowd.trigger([f"order-{number}" for number in range(RUNS)])
    for _ in range(2):
        await some_more(crowd, RUNS)
        first.kill()
        first.start()
    await crowd.nothing_lost_and_nothing_twice(RUNS)


@pytest.mark.timeout(300)
async def test_one_that_was_stopped_past_its_lease_writes_nothing_late(
    crowd_on: Crowds, postgres_url: str
) -> None:
    crowd = crowd_on(postgres_url)
    first = crowd.process("first", STEP_SECONDS="0.5").start()
    await crowd.ready(first)
    second = crowd.process("second", STEP_SECONDS="0.5").start()
    await crowd.ready(second)
    await crowd.trigger([f"order-{number}" for number in range(RUNS)])
    await some_more(crowd, RUNS)
    first.signal(signal.SIGSTOP)
    await crowd.all_complete(RUNS)
    first.signal(signal.SIGCONT)
    await crowd.nothing_lost_and_nothing_twice(RUNS)
    await crowd.ready(first)


@pytest.mark.timeout(300)
async def test_the_database_stops_and_starts(crowd_on: Crowds, own_postgres: Postgres) -> None:
    crowd = crowd_on(own_postgres.url)
    process = crowd.process("only", STEP_SECONDS="0.5").start()
    await crowd.ready(process)
    await crowd.trigger([f"order-{number}" for number in range(RUNS)])
    await some_more(crowd, RUNS)
    own_postgres.kill()
    await until(lambda: process.says('"log_unreachable"') > 0, "the process notices")
    own_postgres.start()
    await crowd.nothing_lost_and_nothing_twice(RUNS)
    assert process.says('"log_unreachable"') == 1
    assert process.says('"store_unreachable"') <= 1
