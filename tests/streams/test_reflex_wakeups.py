"""Who waits is woken, and a database that goes away comes back."""

import asyncio

import pytest

from streamwf.adapters.sql.engine import create
from streamwf.adapters.streams import wakeups
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.errors import StoreUnreachable
from streamwf.testing.contracts.streams import closing, outgoing, recv, values
from tests.servers import PrivateServer

SETTING = "DATABASE_URL"
NEVER = 100_000.0


@pytest.fixture
def no_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOON", "SELDOM", "NOTIFIED"):
        monkeypatch.setattr(wakeups, name, NEVER)


@pytest.mark.usefixtures("no_polling")
async def test_postgres_tells_other_processes(postgres_url: str) -> None:
    here, there = create(postgres_url, SETTING), create(postgres_url, SETTING)
    async with closing(ReflexStreamer(here)) as one, closing(ReflexStreamer(there)) as other:
        receiver = await one.receiver("orders", "one")
        sender = await other.sender("orders")
        for value in "abc":
            receiving = asyncio.create_task(recv(receiver, 1))
            await sender.send(outgoing("o-1", value))

            assert values(await receiving) == [value]
    await here.dispose()
    await there.dispose()


@pytest.mark.usefixtures("no_polling")
async def test_senders_of_one_process_tell_its_receivers(sqlite_url: str) -> None:
    engine = create(sqlite_url, SETTING)
    async with closing(ReflexStreamer(engine)) as streamer:
        receiver = await streamer.receiver("orders", "one")
        receiving = asyncio.create_task(recv(receiver, 1))
        await (await streamer.sender("orders")).send(outgoing("o-1", "a"))

        assert values(await receiving) == ["a"]
    await engine.dispose()


@pytest.mark.parametrize("which", ["own_postgres", "own_mariadb"])
async def test_a_database_that_goes_and_comes_back(
    which: str, request: pytest.FixtureRequest
) -> None:
    server: PrivateServer = request.getfixturevalue(which)
    engine = create(server.url, SETTING)
    async with closing(ReflexStreamer(engine)) as streamer:
        sender = await streamer.sender("orders")
        receiver = await streamer.receiver("orders", "one")
        for number, end in enumerate((server.kill, server.stop)):
            await sender.send(outgoing("o-1", f"{number}.before"))
            assert values(await recv(receiver, 1)) == [f"{number}.before"]
            receiving = asyncio.create_task(recv(receiver, 1))
            await asyncio.to_thread(end)
            with pytest.raises(StoreUnreachable, match=SETTING):
                await receiving
            with pytest.raises(StoreUnreachable, match=SETTING):
                await sender.send(outgoing("o-1", "lost"))
            await asyncio.to_thread(server.start)
            await sender.send(outgoing("o-1", f"{number}.after"))

            assert values(await recv(receiver, 1)) == [f"{number}.after"]
            await receiver.ack()
    await engine.dispose()


@pytest.mark.usefixtures("no_polling")
async def test_postgres_tells_again_after_it_was_away(
    own_postgres: PrivateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "AGAIN_SECONDS", 0.01)
    waits, wait = asyncio.Event(), wakeups.Waiter.wait

    async def told(self: wakeups.Waiter) -> None:
        waits.set()
        await wait(self)

    here, there = create(own_postgres.url, SETTING), create(own_postgres.url, SETTING)
    async with closing(ReflexStreamer(here)) as one, closing(ReflexStreamer(there)) as other:
        receiver = await one.receiver("orders", "one")
        sender = await other.sender("orders")
        await sender.send(outgoing("o-1", "a"))
        assert values(await recv(receiver, 1)) == ["a"]
        while not one.wakeups.notified:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(wakeups.Waiter, "wait", told)
        receiving = asyncio.create_task(recv(receiver, 1))
        await waits.wait()
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.start)
        await sender.send(outgoing("o-1", "b"))

        assert values(await receiving) == ["b"]
    await here.dispose()
    await there.dispose()
