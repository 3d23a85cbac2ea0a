"""From a real PostgreSQL to a real broker: relays are killed, and nothing is lost or done twice."""

import asyncio
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import asyncpg
import pytest
from aiokafka.admin import NewTopic
from sqlalchemy import make_url

from streamwf import Client, Outbox
from streamwf.adapters.kafka.topics import Topics, admin, create
from streamwf.adapters.local_kafka import LocalKafka
from streamwf.adapters.sql.engine import create as engine_of
from streamwf.adapters.sql.schema import metadata
from streamwf.errors import NotReady
from tests.kafka.cluster import HERE, Cluster, Worker, until
from tests.kafka.flows_called import Account, orders
from tests.servers import Postgres

RELAY = (sys.executable, str(HERE / "relay_main.py"))
ROOT = str(HERE.parents[1])

#: Writers at the same time.
WRITERS = 8


class Undone(Exception):
    """Rolls a transaction back."""


@dataclass
class Bank:
    """An application with a table of its own, and what of its requests was committed.

    paid: how many payments of each account were committed; they are numbered from 1 on.
    """

    pool: asyncpg.Pool
    outbox: Outbox = field(default_factory=Outbox)
    paid: Counter[str] = field(default_factory=Counter)
    undone: int = 0

    async def open(self, account: str) -> None:
        """Open an account, and a run for it; sometimes something fails at the end."""
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                await connection.execute("INSERT INTO accounts VALUES ($1, 0)", account)
                await self.outbox.trigger(orders, account, Account(), connection=connection)
                self._fail_sometimes()
        except Undone:
            await self.open(account)
        else:
            self.paid[account] = 0

    async def pay(self, account: str) -> None:
        """The row of the account is locked until the transaction ends: so payments of one account
        come one after the other, whoever makes them."""
        try:
            async with self.pool.acquire() as connection, connection.transaction():
                update = "UPDATE accounts SET payments = payments + 1 WHERE id = $1"
                number = await connection.fetchval(f"{update} RETURNING payments", account)
                await self.outbox.callback(
                    orders, "paid", number, foreign_id=account, connection=connection
                )
                self._fail_sometimes()
        except Undone:
            return
        self.paid[account] += 1

    def _fail_sometimes(self) -> None:
        if random.random() < 0.1:
            self.undone += 1
            raise Undone

    async def work(self, accounts: int, payments: int) -> int:
        """Several writers at once, that open accounts and make payments; how many rows that was."""
        names = [f"account-{number}" for number in range(accounts)]
        await side_by_side([lambda name=name: self.open(name) for name in names])  # type: ignore[misc]
        paid = random.choices(names, k=payments)
        await side_by_side([lambda name=name: self.pay(name) for name in paid])  # type: ignore[misc]
        return accounts + self.paid.total()

    async def waiting(self) -> int:
        return int(await self.pool.fetchval("SELECT count(*) FROM streamwf_outbox"))


async def side_by_side(jobs: list[Callable[[], object]]) -> None:
    left = iter(jobs)

    async def writer() -> None:
        for job in left:
            await job()  # type: ignore[misc]

    async with asyncio.TaskGroup() as tasks:
        for _ in range(WRITERS):
            tasks.create_task(writer())


@asynccontextmanager
async def bank(url: str) -> AsyncIterator[Bank]:
    engine = engine_of(url, "the URL of the test")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()
    async with asyncpg.create_pool(url, min_size=1, max_size=WRITERS) as pool:
        await pool.execute("CREATE TABLE accounts (id text PRIMARY KEY, payments int)")
        yield Bank(pool)


def relay(cluster: Cluster, url: str, name: str = "relay") -> Worker:
    environment = {**cluster.environment, "STREAMWF_STORE": url, "PYTHONPATH": ROOT}
    made = Worker(name, cluster.folder, environment, RELAY)
    cluster.workers.append(made)
    return made


def command(cluster: Cluster, url: str) -> Worker:
    """The relay as people start it."""
    environment = {**cluster.environment, "STREAMWF_STORE": url, "PYTHONPATH": ROOT}
    words = (sys.executable, "-m", "streamwf.cli", "relay", "tests.kafka.flows_called")
    made = Worker("command", cluster.folder, environment, words)
    cluster.workers.append(made)
    return made


def worker(cluster: Cluster, name: str = "worker", **environment: str) -> Worker:
    return cluster.worker(name, FLOWS="flows_called", **environment)


async def each_once_and_in_order(cluster: Cluster, accounts: Bank, host: Worker) -> None:
    """Each account has one run, which has heard of each payment once, in its order."""

    wanted = {name: [*range(1, count + 1)] for name, count in accounts.paid.items()}

    async def heard() -> bool:
        # Asked anew each time: it may have been started anew.
        try:
            async with Client.over_http(host.url) as client:
                found = {run.foreign_id: run.object.heard async for run in client.list(orders)}
        except NotReady:
            return False
        return found == wanted

    await until(heard, "each payment was heard once, in order", 60)
    runs = {event["runid"] for event in await cluster.events() if event["type"] == "trigger"}
    assert len(runs) == len(accounts.paid)


async def appended(cluster: Cluster) -> int:
    """How many records the relays have appended, with those that came again."""
    return sum("unheard" in event for event in await cluster.events())


@pytest.mark.timeout(300)
async def test_a_relay_is_killed_between_append_and_delete(
    cluster: Cluster, postgres_url: str
) -> None:
    host = worker(cluster).start()
    async with bank(postgres_url) as accounts:
        rows = await accounts.work(accounts=150, payments=1_200)
        assert accounts.undone > 0
        assert await accounts.waiting() == rows
        mortal = relay(cluster, postgres_url)
        for batch in (1, 3, 1, 2, 1):
            assert mortal.start(KILL_AT=str(batch)).wait(60) == -signal.SIGKILL
        left = await accounts.waiting()
        mortal.start()
        await until(lambda: empty(accounts), "the outbox is empty")
        await each_once_and_in_order(cluster, accounts, host)
        # Three of the eight batches were deleted; each of the five was appended again.
        assert left == rows - 300
        assert await appended(cluster) == rows + 500
        assert mortal.stop() == 0


async def empty(accounts: Bank) -> bool:
    return await accounts.waiting() == 0


@pytest.mark.timeout(400)
async def test_ten_thousand_rows_by_two_relays_that_are_killed(
    cluster: Cluster, postgres_url: str
) -> None:
    host = worker(cluster).start()
    async with bank(postgres_url) as accounts:
        rows = await accounts.work(accounts=1_000, payments=10_000)
        assert rows > 9_500
        relays = [relay(cluster, postgres_url, name) for name in ("one", "two")]
        deaths = 0
        while deaths < 10:
            for each in relays:
                if not each.runs:
                    each.start(KILL_AT=str(random.randint(1, 12)))
            await until(lambda: not all(each.runs for each in relays), "one of them is killed")
            deaths += 1
        for each in relays:
            if not each.runs:
                each.start()
        await until(lambda: empty(accounts), "the outbox is empty", 120)
        await each_once_and_in_order(cluster, accounts, host)
        again = await appended(cluster) - rows
        print(f"{rows} rows, {accounts.undone} rolled back, {again} appended again")
        # Each time, one of them dies, or both.
        assert 10 <= again <= 21 * 100


@pytest.mark.timeout(300)
async def test_the_database_and_the_broker_stop_and_start(
    own_cluster: Cluster, own_kafka: LocalKafka, own_postgres: Postgres
) -> None:
    cluster, url = own_cluster, own_postgres.url
    host, mortal = worker(cluster).start(), relay(cluster, url).start()
    async with bank(url) as accounts:
        await accounts.work(accounts=100, payments=400)
        await until(lambda: empty(accounts), "the outbox is empty")
    await asyncio.to_thread(own_postgres.kill)
    await until(lambda: mortal.says("outbox_held_up") == 1, "it says so")
    await asyncio.to_thread(own_postgres.start)
    await until(lambda: mortal.says("outbox_goes_on") == 1, "it goes on")
    async with asyncpg.create_pool(url, min_size=1, max_size=WRITERS) as pool:
        accounts.pool = pool
        await asyncio.to_thread(own_kafka.stop)
        paid = random.choices([*accounts.paid], k=400)
        await side_by_side([lambda name=name: accounts.pay(name) for name in paid])  # type: ignore[misc]
        await until(lambda: mortal.says("outbox_held_up") == 2, "it says so")
        await asyncio.to_thread(own_kafka.start)
        await until(lambda: empty(accounts), "the outbox is empty", 90)
        await until(lambda: mortal.says("outbox_goes_on") == 2, "it goes on")
    await each_once_and_in_order(cluster, accounts, host)
    assert mortal.says("outbox_held_up") == 2
    assert "Traceback" not in mortal.text()


async def test_a_worker_relays_too(cluster: Cluster, postgres_url: str) -> None:
    async with bank(postgres_url) as accounts:
        host = worker(cluster, STREAMWF_STORE=postgres_url, STREAMWF_RELAY="true").start()
        await accounts.work(accounts=20, payments=100)
        await until(lambda: empty(accounts), "the outbox is empty")
        await each_once_and_in_order(cluster, accounts, host)
        told = await get(f"{host.url}/metrics")
        assert 'streamwf_outbox_rows{workflow="orders"}' in told
        assert host.stop() == 0


async def test_the_command(cluster: Cluster, postgres_url: str) -> None:
    async with bank(postgres_url) as accounts:
        relay = command(cluster, postgres_url).start()
        await until(lambda: relay.says("relay_listens") == 1, "it listens")
        [url] = re.findall(r"http://[\d.:]+", relay.text())
        await accounts.work(accounts=5, payments=0)
        await until(lambda: empty(accounts), "the outbox is empty")
        assert {event["subject"] for event in await cluster.events()} == set(accounts.paid)

        async def counted() -> bool:
            return 'streamwf_outbox_relayed_total{workflow="orders"} 5.0' in await get(
                f"{url}/metrics"
            )

        await until(counted, "the metric says so")
        assert "ready" in await get(f"{url}/readyz")
        assert relay.stop() == 0
        assert make_url(postgres_url).password not in relay.text()


async def test_what_the_topic_does_not_take_is_set_aside(
    cluster: Cluster, postgres_url: str
) -> None:
    """Its owners have made it by hand, and narrow."""
    topics = Topics.of("orders", cluster.settings)
    client = await admin(cluster.settings)
    narrow = {"max.message.bytes": "2000"}
    for name in (topics.events, topics.changelog, topics.dead_letters):
        await create(client, NewTopic(name, cluster.settings.partitions, 1, topic_configs=narrow))
    await client.close()
    async with bank(postgres_url) as accounts:
        for count in (1, 900, 2):
            async with accounts.pool.acquire() as connection, connection.transaction():
                await accounts.outbox.trigger(
                    orders, f"a-{count}", Account(heard=[count] * count), connection=connection
                )
        relay(cluster, postgres_url).start()

        async def refused() -> bool:
            reasons = await accounts.pool.fetch("SELECT refused FROM streamwf_outbox")
            return len(reasons) == 1 and "max.message.bytes" in (reasons[0]["refused"] or "")

        await until(refused, "one row is left, with its reason")
        assert {event["subject"] for event in await cluster.events()} == {"a-1", "a-2"}


async def get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return await response.text()
