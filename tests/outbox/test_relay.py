"""The relay: all that was committed, in order, once, whatever happens on the way."""

import asyncio
from collections import Counter

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from streamwf import Outbox, State, embedded
from streamwf.adapters.relay_metrics import RelayCollector
from streamwf.adapters.sql.engine import create
from streamwf.adapters.sql.outbox import SqlOutbox
from streamwf.errors import BrokerUnreachable, OutboxNotFound
from streamwf.relay import Relay
from tests.outbox.books import Book, Letter, Status, books, left, letters
from tests.outbox.relaying import Listed, ask, insert, relaying
from tests.support import eventually

WITHIN = 30.0


async def empty(engine: AsyncEngine) -> None:
    async def is_empty() -> bool:
        return await left(engine) == []

    await eventually(is_empty, within=WITHIN)


# ---- whole, on each database


async def test_what_is_committed_runs(engine: AsyncEngine, url: str) -> None:
    outbox = Outbox()
    async with embedded(books, letters) as app, relaying(url, app.host):
        async with engine.begin() as connection:
            run_id = await outbox.trigger(books, "b-1", Book(title="Emma"), connection=connection)
            await outbox.callback(books, "sold", 12, foreign_id="b-1", connection=connection)
            other = await outbox.trigger(books, "b-2", Book(title="Kim"), connection=connection)
            await outbox.callback(books, "sold", 7, correlation="Kim", connection=connection)
            sealed = await outbox.trigger(letters, "l", Letter(secret="s"), connection=connection)

        async def ended() -> bool:
            runs = {run.run_id: run.state for run in (await app.client.find()).runs}
            wanted = dict.fromkeys((run_id, other, sealed), State.COMPLETED)
            return runs == wanted

        await eventually(ended, within=WITHIN)
        assert (await app.client.get(books, run_id)).object.pages == 12
        assert (await app.client.get(books, other)).object.pages == 7
        assert (await app.client.get(letters, sealed)).object.secret == "s"
        assert not any(b"Emma" in (r.value or b"") for r in app.host.logs["letters"].records)
        await empty(engine)


async def test_a_client_waits_for_what_is_on_its_way(engine: AsyncEngine, url: str) -> None:
    async with embedded(books) as app, relaying(url, app.host):
        async with engine.begin() as connection:
            run_id = await app.client.trigger(
                books, "b-1", Book(title="Emma"), connection=connection
            )
        run = await app.client.await_(books, run_id, Status.BOUND)
        assert run.object.title == "Emma"


async def test_rows_come_in_their_order(engine: AsyncEngine, url: str) -> None:
    log = Listed(books)
    names = [f"b-{number % 7}" for number in range(350)]
    await ask(engine, *names)
    async with relaying(url, log):
        await empty(engine)
    assert log.subjects() == names


async def test_two_relays_take_turns(engine: AsyncEngine, url: str) -> None:
    log = Listed(books)
    async with relaying(url, log), relaying(url, log):
        names = [f"b-{number}" for number in range(250)]
        for start in range(0, 250, 10):
            await ask(engine, *names[start : start + 10])
        await empty(engine)
    # SQLite has no turns; each relay is in order there, too.
    assert [*dict.fromkeys(log.subjects())] == names
    if engine.dialect.name != "sqlite":
        assert log.subjects() == names


async def test_what_is_written_later_with_a_smaller_id_is_not_passed_over(
    on_postgres: AsyncEngine, postgres_url: str
) -> None:
    log = Listed(books)
    async with relaying(postgres_url, log), on_postgres.connect() as slow:
        await Outbox().trigger(books, "slow", Book(title="s"), connection=slow)
        await ask(on_postgres, *(f"b-{number}" for number in range(120)))
        await eventually(lambda: len(log.subjects()) == 120, within=WITHIN)
        await slow.commit()
        await eventually(lambda: log.subjects()[120:] == ["slow"], within=WITHIN)
        await empty(on_postgres)


async def test_what_comes_meanwhile_is_not_deleted(
    on_postgres: AsyncEngine, postgres_url: str
) -> None:
    store = SqlOutbox(create(postgres_url, "store"), "store")
    async with on_postgres.connect() as slow:
        await Outbox().trigger(books, "slow", Book(title="s"), connection=slow)
        await ask(on_postgres, "b-1")
        taken = await store.take("books", 100)
        await slow.commit()
    await store.delete([row.id for row in taken])
    assert [event["subject"] for event in await left(on_postgres)] == ["slow"]
    await store.close()


async def test_a_relay_is_woken(
    on_postgres: AsyncEngine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without being told, it would never look again."""
    monkeypatch.setattr("streamwf.adapters.sql.outbox.POLL_BEHIND_LISTEN", 10 * WITHIN)
    log = Listed(books)
    async with relaying(postgres_url, log):
        await ask(on_postgres, "b-0")
        await eventually(lambda: len(log.subjects()) == 1, within=WITHIN)
        for number in range(1, 30):
            await ask(on_postgres, f"b-{number}")
            await eventually(lambda n=number: len(log.subjects()) == n + 1, within=WITHIN)  # type: ignore[misc]


async def test_it_looks_by_itself_where_nobody_tells(
    on_postgres: AsyncEngine, postgres_url: str
) -> None:
    """Other programs may write rows and tell nobody."""
    log = Listed(books)
    async with relaying(postgres_url, log):
        await ask(on_postgres, "b-1")
        await eventually(lambda: log.subjects() == ["b-1"], within=WITHIN)
        event = b'{"type": "trigger", "subject": "b-2", "data": {"title": "Emma"}}'
        await insert(on_postgres, event)
        await eventually(lambda: log.subjects() == ["b-1", "b-2"], within=WITHIN)


# ---- twice counts once


async def test_what_is_appended_again_counts_once(engine: AsyncEngine, url: str) -> None:
    """The log fails after it has taken everything; so it is all appended again, three times."""
    outbox = Outbox()
    async with engine.begin() as connection:
        for number in range(20):
            name = f"b-{number}"
            await outbox.trigger(books, name, Book(title=name), connection=connection)
            await outbox.callback(books, "sold", number, foreign_id=name, connection=connection)
        short = b'{"type": "trigger", "subject": "b-20", "data": {"title": "Emma"}}'
        await connection.execute(
            text("INSERT INTO streamwf_outbox (workflow, foreign_id, event, created_at)"
                 " VALUES ('books', 'b-20', :event, 1700000000000000)"), {"event": short},
        )  # fmt: skip
    async with embedded(books) as app:
        append_all, failures = app.host.append_all, [OSError("gone")] * 3

        async def fails(workflow, events):  # type: ignore[no-untyped-def]
            await append_all(workflow, events)
            if failures:
                raise failures.pop()

        app.host.append_all = fails  # type: ignore[method-assign]
        async with relaying(url, app.host):
            await empty(engine)

        async def states() -> dict[State, int]:
            return Counter(run.state for run in (await app.client.find()).runs)

        async def ended() -> bool:
            return await states() == {State.COMPLETED: 20, State.RUNNING: 1}

        await eventually(ended, within=WITHIN)
        assert len([r for r in app.host.logs["books"].records if b"unheard" in r.value]) == 160
        assert app.host.logs["books"].dead_letters == []


async def test_a_database_that_can_only_be_read_has_nothing_appended_again(
    on_postgres: AsyncEngine, postgres_url: str
) -> None:
    log = Listed(books)
    await ask(on_postgres, "b-1", "b-2")
    await read_only(on_postgres, True)
    async with relaying(postgres_url, log) as relay:
        await eventually(lambda: "read-only" in relay.trouble, within=WITHIN)
        await read_only(on_postgres, False)
        await empty(on_postgres)
    assert log.subjects() == ["b-1", "b-2"]


async def read_only(engine: AsyncEngine, only: bool) -> None:
    """Its other connections find it so from their next transaction on, as they are made anew."""
    statements = (
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = {only}",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def test_what_nobody_hears_of_goes_to_the_dead_letters_if_it_is_refused(
    on_postgres: AsyncEngine, postgres_url: str
) -> None:
    async with embedded(books) as app, relaying(postgres_url, app.host):
        await ask(on_postgres, "b-1", "b-1")
        log = app.host.logs["books"]
        await eventually(lambda: len(log.dead_letters) == 1, within=WITHIN)
        assert log.dead_letters[0][1] == "trigger refused: run_in_progress"


# ---- rows that can't be appended


async def test_a_row_that_can_not_be_appended_is_set_aside(engine: AsyncEngine, url: str) -> None:
    log = Listed(books, max_record_bytes=2_000)
    await ask(engine, "b-1")
    await insert(engine, b"\xff nonsense")
    await ask(engine, "b-2", "x" * 490)
    async with engine.begin() as connection:
        big = Book(title="x" * 2_000)
        await Outbox().trigger(books, "big", big, connection=connection)
    await ask(engine, "b-3")
    async with relaying(url, log) as relay:
        await eventually(lambda: "b-3" in log.subjects(), within=WITHIN)
        await eventually(
            lambda: relay.backlog and relay.backlog["books"].refused == 2, within=WITHIN
        )
    assert log.subjects() == ["b-1", "b-2", "x" * 490, "b-3"]
    async with engine.connect() as connection:
        reasons = await connection.scalars(text("SELECT refused FROM streamwf_outbox ORDER BY id"))
        nonsense, large = reasons
    assert "not JSON" in nonsense
    assert "the limit is 2000" in large


async def test_rows_of_other_workflows_are_left(engine: AsyncEngine, url: str) -> None:
    log = Listed(books)
    await insert(engine, b"{}", workflow="others")
    await ask(engine, "b-1")
    async with relaying(url, log) as relay:
        await eventually(lambda: log.subjects() == ["b-1"], within=WITHIN)
        await eventually(lambda: list(relay.backlog) == ["others"], within=WITHIN)
        assert relay.backlog["others"].waiting == 1
    assert await left(engine) == [{}]


async def test_one_log_that_fails_holds_up_no_other(
    on_postgres: AsyncEngine, postgres_url: str
) -> None:
    log = Listed(books, letters)
    append_all = log.append_all

    async def fails(workflow, events):  # type: ignore[no-untyped-def]
        if workflow == "books":
            raise BrokerUnreachable(brokers="there", cause="gone")
        await append_all(workflow, events)

    log.append_all = fails  # type: ignore[method-assign]
    await ask(on_postgres, "b-1")
    async with on_postgres.begin() as connection:
        await Outbox().trigger(letters, "l-1", Letter(secret="s"), connection=connection)
    async with relaying(postgres_url, log) as relay:
        await eventually(lambda: log.subjects("letters") == ["l-1"], within=WITHIN)
        await eventually(lambda: "No Kafka broker answers" in relay.trouble, within=WITHIN)
        log.append_all = append_all  # type: ignore[method-assign]
        await empty(on_postgres)
        await eventually(lambda: relay.trouble == "", within=WITHIN)
    assert log.subjects("letters") == ["l-1"]


# ---- what is told


async def test_lag_is_a_metric(engine: AsyncEngine, url: str) -> None:
    store = SqlOutbox(create(url, "store"), "store")
    relay = Relay(store, Listed(books))
    registry = CollectorRegistry()
    registry.register(RelayCollector(relay))

    def sample(name: str, workflow: str = "books") -> float | None:
        return registry.get_sample_value(f"streamwf_outbox_{name}", {"workflow": workflow})

    assert (sample("rows"), sample("lag_seconds"), sample("refused_rows")) == (0, 0, 0)
    await ask(engine, "b-1", "b-2")
    await insert(engine, b"{}", workflow="others")
    relay.backlog = await store.backlog()
    assert (sample("rows"), sample("rows", "others")) == (2, 1)
    assert 0 <= (sample("lag_seconds") or 0) < 60
    assert (sample("lag_seconds", "others") or 0) > 1e6
    await store.close()
    assert b"streamwf_outbox_relayed_total" in generate_latest(registry)


async def test_what_holds_it_up_is_said_once(on_postgres: AsyncEngine, postgres_url: str) -> None:
    log = Listed(books)
    log.fails = [BrokerUnreachable(brokers="there", cause="gone") for _ in range(4)]
    await ask(on_postgres, "b-1")
    with capture_logs() as said:
        async with relaying(postgres_url, log):
            await eventually(lambda: len(said) == 2, within=WITHIN)
    assert [line["event"] for line in said] == ["outbox_held_up", "outbox_goes_on"]


async def test_a_database_without_the_table_is_told(url: str) -> None:
    store = SqlOutbox(create(url, "store"), "store")
    with pytest.raises(OutboxNotFound, match="store"):
        await store.check()
    await store.close()


async def test_large_rows_come_few_at_a_time(engine: AsyncEngine, url: str) -> None:
    store = SqlOutbox(create(url, "store"), "store")
    async with engine.begin() as connection:
        for number in range(9):
            await Outbox().trigger(
                books, f"b-{number}", Book(title="x" * 900_000), connection=connection
            )
    taken = [row.id for row in await store.take("books", 100)]
    assert 4 <= len(taken) <= 6
    assert len(await store.take("books", 2)) == 2
    await store.delete(taken)
    assert len(await store.take("books", 100)) == 9 - len(taken)
    await store.close()


async def test_a_relay_ends_when_it_is_cancelled(url: str, engine: AsyncEngine) -> None:
    async with relaying(url, Listed(books)):
        await asyncio.sleep(0)
