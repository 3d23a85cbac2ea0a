"""What every scheduler of roles holds to. An adapter's own test gives it a factory."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from streamwf.errors import RolesClosed
from streamwf.ports import Hold, RoleScheduler

ROLE = "order-processing-1-consumer-1-of-1"

#: Seconds that something may take which is to happen.
PATIENCE = 30

NAMES = [
    "order processing",
    "Order Processing",
    "order processing ",
    "order%processing",
    "order_processing",
    'o\'rder "processing"; --',
    "nul\0byte",
    "nul\N{SYMBOL FOR NULL}byte",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{GRINNING FACE}",
    "x" * 500,
    "x" * 499 + "y",
    "\N{GRINNING FACE}" * 500,
    " ",
    "",
]

Make = Callable[[], RoleScheduler]


class Worker:
    """Somebody who holds a role, in a task. Whoever cancels it is its parent.

    log: gets `got NAME` and `lost NAME`, in their order.
    """

    def __init__(
        self,
        scheduler: RoleScheduler,
        role: str = ROLE,
        name: str = "",
        log: list[str] | None = None,
    ) -> None:
        self.role = role
        self.log = [] if log is None else log
        self.name = name
        self.hold: Hold | None = None
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._work(scheduler))

    async def _work(self, scheduler: RoleScheduler) -> None:
        async with scheduler.hold(self.role) as self.hold:
            self.log.append(f"got {self.name}")
            go = asyncio.create_task(self.go.wait())
            lost = asyncio.create_task(self.hold.lost())
            try:
                await asyncio.wait([go, lost], return_when=asyncio.FIRST_COMPLETED)
            finally:
                if lost.done():
                    self.log.append(f"lost {self.name}")
                go.cancel()
                lost.cancel()

    async def got(self) -> Hold:
        await soon(lambda: self.hold is not None or self.task.done())
        if self.hold is None:
            await self.task
        assert self.hold is not None
        return self.hold

    async def leave(self) -> None:
        self.go.set()
        await self.task

    async def cancel(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def soon(what: Callable[[], bool]) -> None:
    """Wait for something, with a deadline."""
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.005)


class Shards:
    """A process that wants all shards of a workflow, as a host does.

    holders: of each shard those who hold it, over all processes.
    """

    def __init__(
        self, scheduler: RoleScheduler, names: list[str], holders: dict[str, set["Shards"]]
    ) -> None:
        self.scheduler = scheduler
        self.held: dict[str, Hold] = {}
        self._holders = holders
        self._tasks = [asyncio.create_task(self._serve(name)) for name in names]

    async def _serve(self, name: str) -> None:
        with contextlib.suppress(RolesClosed):
            while True:
                async with self.scheduler.hold(name) as hold:
                    self.held[name] = hold
                    self._holders[name].add(self)
                    assert len(self._holders[name]) == 1, f"{name} has two holders"
                    await hold.lost()
                    self._holders[name].discard(self)
                    del self.held[name]

    async def stop(self) -> None:
        await self.scheduler.close()
        await asyncio.gather(*self._tasks)

    @property
    def failed(self) -> bool:
        return any(t.done() and not t.cancelled() and t.exception() for t in self._tasks)


@pytest.mark.asyncio
class RoleSchedulerContract:
    """Subclasses give `another`: each call gives a scheduler as one more process has it.

    lease: how long a process may be silent before it is replaced, in seconds.
    """

    lease = 1.0

    @pytest.fixture
    def another(self) -> Make:
        raise NotImplementedError

    async def cut_off(self, scheduler: RoleScheduler) -> None:
        """Keep a scheduler from whatever it shares with the others, as a broken network does."""
        pytest.skip("nothing can be between it and the others")

    @pytest.fixture
    async def make(self, another: Make) -> AsyncIterator[Make]:
        made: list[RoleScheduler] = []

        def one_more() -> RoleScheduler:
            made.append(another())
            return made[-1]

        yield one_more
        for scheduler in made:
            await scheduler.close()

    @pytest.fixture
    def scheduler(self, make: Make) -> RoleScheduler:
        return make()

    @pytest.fixture
    def elsewhere(self, make: Make) -> RoleScheduler:
        return make()

    # ---- one at a time

    async def test_a_role_is_held_until_the_block_ends(self, scheduler: RoleScheduler) -> None:
        async with scheduler.hold(ROLE) as hold:
            assert hold.held
        assert not hold.held
        await asyncio.wait_for(hold.lost(), PATIENCE)

    @pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
    async def test_five_callers_get_it_one_at_a_time(self, make: Make, apart: bool) -> None:
        schedulers = [make() for _ in range(5)] if apart else [make()] * 5
        inside, most, tokens = 0, 0, list[int]()

        async def call(scheduler: RoleScheduler) -> None:
            nonlocal inside, most
            async with scheduler.hold(ROLE) as hold:
                inside += 1
                most = max(most, inside)
                tokens.append(hold.token)
                await asyncio.sleep(0.01)
                inside -= 1

        await asyncio.wait_for(asyncio.gather(*map(call, schedulers)), PATIENCE)

        assert most == 1
        assert len(tokens) == 5
        assert tokens == sorted(set(tokens)), "a later holder has no greater token"

    async def test_it_stays_held_however_long_that_is(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        first = Worker(scheduler)
        hold = await first.got()
        second = Worker(elsewhere)
        await asyncio.wait([first.task, second.task], timeout=2 * self.lease)

        assert hold.held
        assert first.log == ["got "]
        assert second.log == []

        await first.leave()
        assert (await second.got()).token > hold.token
        await second.leave()

    async def test_roles_are_apart(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        async with scheduler.hold("one") as one, elsewhere.hold("another") as another:
            assert one.held
            assert another.held

    async def test_names_are_of_any_characters(self, make: Make) -> None:
        async with contextlib.AsyncExitStack() as stack:
            scheduler = make()
            holds = [await stack.enter_async_context(scheduler.hold(name)) for name in NAMES]
            assert all(hold.held for hold in holds)
        again = make()
        for name, former in zip(NAMES, holds, strict=True):
            async with again.hold(name) as hold:
                assert hold.token > former.token

    # ---- letting go

    async def test_the_end_of_a_block_gives_it_to_another(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        first = Worker(scheduler)
        await first.got()
        second = Worker(elsewhere)
        await first.leave()
        await second.got()
        await second.leave()

    async def test_cancelling_the_caller_releases(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        first = Worker(scheduler)
        hold = await first.got()
        await first.cancel()

        assert not hold.held
        async with asyncio.timeout(PATIENCE), elsewhere.hold(ROLE) as next_hold:
            assert next_hold.token > hold.token

    async def test_an_exception_releases_and_goes_on(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            async with scheduler.hold(ROLE) as hold:
                raise ZeroDivisionError
        assert not hold.held
        async with asyncio.timeout(PATIENCE), elsewhere.hold(ROLE):
            pass

    async def test_who_is_cancelled_while_waiting_never_gets_it(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        holder, waiting = Worker(scheduler), Worker(elsewhere)
        async with contextlib.AsyncExitStack() as stack:
            if holder.hold is None and waiting.hold is None:
                await soon(lambda: holder.hold is not None or waiting.hold is not None)
            if holder.hold is None:
                holder, waiting = waiting, holder
            stack.push_async_callback(holder.leave)
            await waiting.cancel()
        async with asyncio.timeout(PATIENCE), scheduler.hold(ROLE):
            assert waiting.hold is None

    async def test_who_is_cancelled_in_the_moment_in_which_it_gets_it_lets_it_go(
        self, scheduler: RoleScheduler
    ) -> None:
        for turns in range(30):
            holder = Worker(scheduler)
            await holder.got()
            waiting = Worker(scheduler)
            await asyncio.sleep(0)
            holder.go.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            await waiting.cancel()
            await holder.task
            async with asyncio.timeout(PATIENCE), scheduler.hold(ROLE):
                pass

    async def test_closing_releases_all_at_once(self, make: Make) -> None:
        first, second = make(), make()
        workers = [Worker(first, f"role {n}") for n in range(20)]
        holds = [await worker.got() for worker in workers]
        await first.close()

        assert not any(hold.held for hold in holds)
        await asyncio.wait_for(asyncio.gather(*(w.task for w in workers)), PATIENCE)
        async with asyncio.timeout(PATIENCE), contextlib.AsyncExitStack() as stack:
            for n in range(20):
                await stack.enter_async_context(second.hold(f"role {n}"))

    async def test_a_closed_scheduler_gives_out_none(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        async with elsewhere.hold(ROLE):
            waiting = Worker(scheduler)
            await asyncio.sleep(0)
            await scheduler.close()
            with pytest.raises(RolesClosed):
                await waiting.task
        with pytest.raises(RolesClosed):
            async with scheduler.hold(ROLE):
                pass
        await scheduler.close()

    # ---- many of them

    async def test_a_hundred_roles_go_from_one_to_another(self, make: Make) -> None:
        names = [f"order-processing-1-consumer-{n + 1}-of-100" for n in range(100)]
        first, second = make(), make()
        former = [Worker(first, name) for name in names]
        tokens = {worker.role: (await worker.got()).token for worker in former}
        await first.close()
        later = [Worker(second, name) for name in names]
        for worker in later:
            assert (await worker.got()).token > tokens[worker.role]
        await asyncio.gather(*(worker.leave() for worker in later))

    async def test_processes_that_want_the_same_roles_get_fair_shares(self, make: Make) -> None:
        names = [f"shard {n}" for n in range(12)]
        holders: dict[str, set[Shards]] = {name: set() for name in names}
        processes = [Shards(make(), names, holders)]
        await soon(lambda: len(processes[0].held) == 12)

        def shares() -> list[int]:
            assert not any(process.failed for process in processes)
            return sorted(len(process.held) for process in processes)

        # One comes after the other has them all, two at the same time, and one goes.
        processes += [Shards(make(), names, holders)]
        await soon(lambda: shares() == [6, 6])
        processes += [Shards(make(), names, holders), Shards(make(), names, holders)]
        await soon(lambda: shares() == [3, 3, 3, 3])
        await processes.pop(0).stop()
        await soon(lambda: shares() == [4, 4, 4])
        # And there it stays.
        tokens = Counter({name: hold.token for p in processes for name, hold in p.held.items()})
        await asyncio.wait(
            [asyncio.create_task(hold.lost()) for p in processes for hold in p.held.values()],
            timeout=self.lease,
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert tokens == {name: h.token for p in processes for name, h in p.held.items()}
        for process in processes:
            await process.stop()

    async def test_who_has_no_more_than_others_keeps_what_it_has(self, make: Make) -> None:
        first, second = make(), make()
        async with first.hold("one") as one, second.hold("two") as two:
            waiting = [Worker(first, "two"), Worker(second, "one"), Worker(make(), "one")]
            await asyncio.wait([w.task for w in waiting], timeout=self.lease)
            assert one.held
            assert two.held
            for worker in waiting:
                await worker.cancel()

    # ---- losing it

    async def test_who_is_cut_off_knows_before_another_gets_it(
        self, scheduler: RoleScheduler, elsewhere: RoleScheduler
    ) -> None:
        log: list[str] = []
        first = Worker(scheduler, name="first", log=log)
        hold = await first.got()
        second = Worker(elsewhere, name="second", log=log)
        await self.cut_off(scheduler)
        next_hold = await second.got()

        assert log == ["got first", "lost first", "got second"]
        assert not hold.held
        assert next_hold.token > hold.token
        await second.leave()
