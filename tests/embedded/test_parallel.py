"""Many at once: side by side within their limits, and holding up nothing else."""

import asyncio
import threading

from streamwf import Repeat, Run, State
from tests.embedded.app import (
    CREATED,
    DONE,
    PICKED,
    Gate,
    Order,
    Status,
    orders,
    running,
)
from tests.support import eventually, settle

OrderRun = Run[Order, Status]


async def test_hundreds_of_waiting_steps_side_by_side() -> None:
    workflow, gate = orders(), Gate()

    @workflow.step(CREATED, to=DONE, parallel=300)
    async def wait(run: OrderRun) -> Status:
        await gate.wait()
        return DONE

    async with running(workflow) as app:
        ids = [await app.start(f"o-{n}") for n in range(400)]
        await eventually(lambda: gate.waiting == 300)
        await settle()
        assert gate.most == 300, "never more than it may"
        gate.open()
        for run_id in ids:
            await app.until(run_id, state=State.COMPLETED)
        assert gate.most <= 300


async def test_one_at_a_time() -> None:
    workflow, running_now, most = orders(), set[str](), []

    @workflow.step(CREATED, to=DONE, parallel=1)
    async def alone(run: OrderRun) -> Status:
        running_now.add(run.run_id)
        most.append(len(running_now))
        await asyncio.sleep(0)
        running_now.discard(run.run_id)
        return DONE

    async with running(workflow) as app:
        ids = [await app.start(f"o-{n}") for n in range(50)]
        for run_id in ids:
            await app.until(run_id, state=State.COMPLETED)
    assert set(most) == {1}


async def test_a_step_that_is_full_holds_up_no_other_step() -> None:
    workflow, gate = orders(), Gate()

    @workflow.step(CREATED, to=[PICKED, DONE], parallel=2)
    async def wait(run: OrderRun) -> Status:
        await gate.wait()
        return DONE

    @workflow.step(PICKED, to=DONE)
    async def quick(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        stuck = [await app.start(f"stuck-{n}") for n in range(20)]
        await eventually(lambda: gate.waiting == 2)
        for n in range(20):
            await app.until(await app.start(f"quick-{n}", at=PICKED), state=State.COMPLETED)
        gate.open()
        for run_id in stuck:
            await app.until(run_id, state=State.COMPLETED)


async def test_a_plain_step_that_blocks_holds_up_nothing_else() -> None:
    workflow, blocked = orders(), threading.Event()
    started = threading.Semaphore(0)

    @workflow.step(CREATED, to=PICKED)
    def block(run: OrderRun) -> Status:
        if run.foreign_id.startswith("blocks"):
            started.release()
            blocked.wait(10)
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow, threads=8) as app:
        try:
            stuck = [await app.start(f"blocks-{n}") for n in range(4)]
            for _ in stuck:
                await eventually(lambda: started.acquire(blocking=False))
            for n in range(20):
                await app.until(await app.start(f"goes-on-{n}"), state=State.COMPLETED)
            assert (await app.client.pause(stuck[0])).state is State.PAUSED
            assert (await app.get(stuck[1])).status is CREATED
        finally:
            blocked.set()
        for run_id in stuck[1:]:
            await app.until(run_id, state=State.COMPLETED)


async def test_a_step_that_never_waits_leaves_others_their_turn() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=DONE)
    async def busy(run: OrderRun) -> Status | Repeat:
        run.object.n += 1
        return DONE if run.object.n == 500 else Repeat()

    async with running(workflow) as app:
        long = await app.start("long", Order(n=0))
        short = await app.start("short", Order(n=499))
        await app.until(short, state=State.COMPLETED)
        assert (await app.get(long)).state is State.RUNNING
        await app.until(long, state=State.COMPLETED)


async def test_a_burst_is_done_to_the_last() -> None:
    workflow = orders()

    @workflow.step(CREATED, to=PICKED, parallel=7)
    async def now_and_then(run: OrderRun) -> Status:
        if run.object.n % 3 == 0:
            await asyncio.sleep(0)
        return PICKED

    @workflow.step(PICKED, to=DONE)
    async def finish(run: OrderRun) -> Status:
        return DONE

    async with running(workflow) as app:
        for n in range(2_000):
            app.append(b'{"type":"trigger","subject":"o-%d","data":{"n":%d}}' % (n, n))
        [shard] = app.host.shards("orders")
        await eventually(lambda: shard.counts()["DONE", "COMPLETED"] == 2_000, within=20)
        assert not shard.dispatcher.queued
        assert not shard.dispatcher.running
        assert shard.dispatcher.depth() == {}
        assert not shard.dispatcher._steps, "nothing is kept of what has ended"
        assert not shard.dispatcher._others


async def test_a_stop_gives_steps_their_grace_and_cancels_the_rest() -> None:
    workflow, gate, never = orders(), Gate(), Gate()
    cancelled: list[str] = []

    @workflow.step(CREATED, to=DONE)
    async def wait(run: OrderRun) -> Status:
        try:
            await (gate if run.foreign_id == "quick" else never).wait()
        except asyncio.CancelledError:
            cancelled.append(run.foreign_id)
            raise
        return DONE

    async with running(workflow) as app:
        quick, slow = await app.start("quick"), await app.start("slow")
        await eventually(lambda: gate.waiting and never.waiting)
        asyncio.get_running_loop().call_later(0.02, gate.open)
        await app.host.stop(grace=0.2)
        assert cancelled == ["slow"]
        [shard] = app.host.shards("orders")
        states = {run_id: shard.lookup(run_id) for run_id in (quick, slow)}
        assert states[quick].state is State.COMPLETED
        assert states[slow].state is State.INITIATED, "the next owner runs it again"
        assert states[slow].error is None
