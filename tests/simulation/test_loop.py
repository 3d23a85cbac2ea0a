"""The loop that simulations run on: no time passes, and processes can be killed and stopped."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from tests.simulation.loop import Livelock, Process, SimLoop


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    made = SimLoop(Random(1))
    yield made
    made.bury()


def test_time_goes_on_only_by_what_is_waited_for(loop: SimLoop) -> None:
    seen = list[float]()

    async def sleeps() -> None:
        await asyncio.sleep(3600)
        seen.append(asyncio.get_running_loop().time())
        assert await asyncio.to_thread(lambda: 7) == 7
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        seen.append(asyncio.get_running_loop().time())

    task = loop.spawn(loop.world, sleeps())
    loop.run(task.done)
    task.result()
    assert seen == [3600.0, 3605.001]


def test_of_a_process_that_is_killed_nothing_runs_any_more(loop: SimLoop) -> None:
    seen = list[str]()
    process = Process("worker")

    async def works() -> None:
        try:
            while True:
                seen.append("work")
                await asyncio.sleep(1)
        finally:
            seen.append("tidied up")

    async def kills() -> None:
        await asyncio.sleep(2.5)
        loop.kill(process)
        await asyncio.sleep(10)

    loop.spawn(process, works())
    loop.run(loop.spawn(loop.world, kills()).done)
    assert seen == ["work"] * 3


def test_a_process_is_killed_after_so_many_of_its_awaits(loop: SimLoop) -> None:
    seen = list[int]()
    process = Process("worker")
    process.fuse = 3

    async def works() -> None:
        for n in range(10):
            seen.append(n)
            await asyncio.sleep(0)

    loop.spawn(process, works())
    loop.run(loop.spawn(loop.world, asyncio.sleep(1)).done)
    assert process.dead
    assert seen == [0, 1, 2]


def test_a_process_that_was_stopped_goes_on_with_what_has_come_due(loop: SimLoop) -> None:
    seen = list[float]()
    process = Process("worker")

    async def works() -> None:
        await asyncio.sleep(1)
        seen.append(loop.time())

    async def stops() -> None:
        await asyncio.sleep(0.5)
        loop.stop_process(process)
        await asyncio.sleep(4.5)
        loop.go_on(process)
        await asyncio.sleep(1)

    loop.spawn(loop.world, stops())
    loop.spawn(process, works())
    loop.run(lambda: loop.time() > 5)
    assert seen == [5.0]


def test_what_would_never_let_time_go_on_is_no_simulation(loop: SimLoop) -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    task = loop.spawn(loop.world, spins())
    with pytest.raises(Livelock):
        loop.run(task.done)
