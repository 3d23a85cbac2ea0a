"""The workflow of DBOS that is measured: three steps that do nothing, each returns the object.

`python dbos_orders.py NAME POOL`, in the peers' own virtual environment, with the database's URL in
DBOS_SYSTEM_DATABASE_URL. Says "ready"; then each line of its input is a JSON object
`{"object", "runs", "concurrency", "way"}`, and is answered by one with the seconds of each run.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvloop
from dbos import DBOS

Order = dict[str, Any]

#: Threads that DBOS may run steps and its own statements in.
THREADS = 64


async def step_of_task(order: Order) -> Order:
    return order


def step_of_thread(order: Order) -> Order:
    return order


task_step = DBOS.step()(step_of_task)
thread_step = DBOS.step()(step_of_thread)


async def deliver_in_task(order: Order) -> Order:
    for _ in range(3):
        order = await task_step(order)
    return order


def deliver_in_thread(order: Order) -> Order:
    for _ in range(3):
        order = thread_step(order)
    return order


task_flow = DBOS.workflow()(deliver_in_task)
thread_flow = DBOS.workflow()(deliver_in_thread)


async def by_tasks(order: Order, runs: int, concurrency: int) -> list[float]:
    """One run after another in each of so many tasks. Returns the seconds of each run."""
    numbers, found = iter(range(runs)), []

    async def one_after_another() -> None:
        for _ in numbers:
            begun = time.perf_counter()
            await task_flow(order)
            found.append(time.perf_counter() - begun)

    await asyncio.gather(*(one_after_another() for _ in range(concurrency)))
    return found


def by_threads(order: Order, runs: int, concurrency: int) -> list[float]:
    """The same in threads, with steps that are plain functions."""

    def one(_: int) -> float:
        begun = time.perf_counter()
        thread_flow(order)
        return time.perf_counter() - begun

    with ThreadPoolExecutor(concurrency) as pool:
        return list(pool.map(one, range(runs)))


def asked() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


async def main(name: str, pool: str) -> None:
    config = {
        "name": "peers",
        "system_database_url": os.environ["DBOS_SYSTEM_DATABASE_URL"],
        "sys_db_pool_size": int(pool),
        # Each process takes up again what it has begun itself.
        "executor_id": name,
        "max_executor_threads": THREADS,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    print("ready", flush=True)
    lines = asked()
    while (load := await asyncio.to_thread(next, lines, None)) is not None:
        what = load["object"], load["runs"], load["concurrency"]
        if load["way"] == "tasks":
            found = await by_tasks(*what)
        else:
            found = await asyncio.to_thread(by_threads, *what)
        print(json.dumps({"latencies": found}), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
