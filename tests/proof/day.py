"""A day of a shop: runs that come to each of their ends, and those who steer them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from streamwf import RunInfo
from streamwf.errors import StreamwfError
from streamwf.testing import Engine, engine
from tests.proof.embedded import Asking, story_of
from tests.proof.shop import Order, Recorder, Shop, Status, a_shop
from tests.proof.story import Story

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Day:
    """What goes on in one engine."""

    app: Engine
    shop: Shop

    async def order(self, foreign_id: str, **given: Any) -> RunInfo[Order, Status]:
        given.setdefault("secret", f"secret of {foreign_id}")
        run = await self.app.trigger(self.shop, foreign_id, Order(**given))
        return await self.app.get(run)

    async def pay(self, amount: int = 5, *, key: str | None = None, **whom: Any) -> str:
        """What came of it."""
        client = self.app.client
        try:
            told = await client.callback(self.shop, "pay", amount, key=key, **whom)
        except StreamwfError as error:
            return type(error).__name__
        finally:
            await self.app.settle()
        return str(told.outcome)

    def write(self, foreign_id: str, value: bytes | None) -> None:
        """Into the log, past all checks."""
        now_ms = int(self.app.clock.now().timestamp() * 1000)
        self.app.host.logs[self.shop.name].append(foreign_id.encode(), value, now_ms)

    # ---- what happens

    async def they_go_their_ways(self) -> None:
        await self.order("plain")
        assert await self.pay(0, foreign_id="plain") == "skipped"
        assert await self.pay(foreign_id="plain", key="once") == "moved"
        assert await self.pay(foreign_id="plain", key="once") == "duplicate"
        for first in ("pause", "cancel", "repeat", "skip"):
            await self.order(f"to-{first}", first=first)
        await self.order("clumsy", clumsy=1)
        await self.order("broken", clumsy=9)
        await self.app.trigger(self.shop, "offered", Order(), at=Status.OFFERED)
        await self.order("known", email="ann@example.org")
        assert await self.pay(correlation="ann@example.org") == "moved"
        await self.app.advance(HOUR)
        assert await self.pay(foreign_id="plain") == "NotWaiting"

    async def they_are_steered(self) -> None:
        client = self.app.client
        paused = await self.order("paused")
        await client.pause(paused.run_id, reason="stocktaking")
        await self.app.advance(3 * HOUR)
        assert await self.pay(foreign_id="paused") == "kept"
        await client.resume(paused.run_id)
        await client.run(self.shop, "to-pause").resume()
        # Its step is under way by then.
        await client.cancel(await client.trigger(self.shop, "no-more", Order(), wait=True))
        await self.app.settle()

    async def some_ask_others(self) -> None:
        await self.order("asks", asks=["a", "b"])
        await self.pay(foreign_id="asks")
        await self.pay(foreign_id="asks/a")
        given_up = await self.order("gives-up", asks=["c"])
        await self.pay(foreign_id="gives-up")
        await self.app.client.cancel(given_up.run_id)
        await self.app.settle()

    async def some_slip(self) -> None:
        await self.order("slips", slips=1, email="cy@example.org")
        await self.pay(foreign_id="slips")
        await self.order("slips-on", slips=2)
        await self.pay(foreign_id="slips-on")
        await self.app.advance(timedelta(seconds=2))
        # Paused by its errors it comes back by itself, and is paused again.
        await self.app.advance(HOUR + timedelta(minutes=1))
        await self.app.client.run(self.shop, "slips-on").cancel()
        await self.order("clumsy-payer")
        assert await self.pay(foreign_id="clumsy-payer") == "kept"
        await self.app.advance(timedelta(seconds=1))
        slow = await self.order("slow", clumsy=2)
        await self.app.advance(timedelta(seconds=1))
        await self.app.client.retry(slow.run_id)
        await self.app.settle()

    async def some_come_early(self) -> None:
        client, shop = self.app.client, self.shop
        wait_for = 2 * HOUR
        await client.callback(shop, "pay", 7, foreign_id="early", wait_for=wait_for)
        await client.callback(shop, "pay", 7, foreign_id="never", wait_for=wait_for)
        await client.callback(shop, "pay", 7, correlation="bob@example.org", wait_for=wait_for)
        await self.order("early")
        # By now it has been paid, and is told again.
        await client.callback(shop, "pay", 7, foreign_id="early", wait_for=HOUR / 4)
        await self.order("bob", email="bob@example.org")
        await self.app.advance(3 * HOUR)

    async def some_are_refused(self) -> None:
        shop, client = self.shop, self.app.client
        await self.order("twice")
        other = Order(secret="another")
        assert await client.trigger(shop, "twice", other)
        self.write("garbage", b"{not json")
        self.write("unfit", b'{"type": "trigger", "subject": "unfit", "data": {"clumsy": "very"}}')
        await self.app.settle()
        # As a worker does that does not know that it has lost its shard.
        for record in list(self.app.host.logs[shop.name].records)[-40::5]:
            if record.key != b"garbage":
                self.write("again", record.value)
        await self.app.settle()

    async def some_are_deleted(self) -> None:
        for name in ("plain", "clumsy"):
            run = await self.app.client.latest(self.shop, name)
            if run is not None:
                await self.app.client.delete_data(run.run_id)
            await self.app.advance(timedelta(minutes=1))
        await self.order("plain")


async def a_day(**options: Any) -> Story:
    """Its story. options: of the workflow."""
    recorder = Recorder(lambda: app.clock.now())
    shop = a_shop(recorder, **options)
    async with engine(shop) as app:
        asking = Asking(app)
        await spend(Day(app, shop))
        return story_of(app, shop, recorder.made, asking.asked)


async def spend(day: Day) -> None:
    """At its end runs are left that wait: `last`, for its lag, and `plain`, for an answer."""
    await day.they_go_their_ways()
    await day.they_are_steered()
    await day.some_ask_others()
    await day.some_slip()
    await day.some_come_early()
    await day.some_are_refused()
    await day.app.advance(4 * DAY)
    await day.some_are_deleted()
    await day.order("last")
    await day.pay(foreign_id="last")
