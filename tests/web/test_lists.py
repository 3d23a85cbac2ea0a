"""Lists over HTTP: filters, orders and counts, and the same done to many runs, whichever workers
own them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from streamwf.client import Client
from streamwf.errors import InvalidQuery, NotReady
from streamwf.record import State
from streamwf.views import MAX_VALUES, Filter, Query
from tests.web.harness import Pair, Reply, Worker, nowhere

ORDERS = ("foreign_id", "-foreign_id", "created", "-created", "updated", "-updated")
BULK = "/api/v1/runs/bulk"


async def listed(worker: Worker, query: str = "") -> list[str]:
    reply = await worker.get(f"/api/v1/runs?{query}")
    assert reply.status == 200, reply.body
    counted = await worker.get(f"/api/v1/runs/count?{query}")
    assert counted.json == {"count": len(reply.json["runs"]), "missing": []}
    return [run["foreign_id"] for run in reply.json["runs"]]


async def refunded(worker: Worker, foreign_id: str, data: Any) -> str:
    reply = await worker.post(
        "/api/v1/workflows/refunds/runs", {"foreign_id": foreign_id, "object": data}
    )
    assert reply.status == 201, reply.body
    return str(reply.json["run_id"])


def refused(reply: Reply) -> str:
    assert (reply.status, reply.json["type"]) == (422, "urn:streamwf:error:InvalidQuery")
    return ", ".join(wrong["field"] for wrong in reply.json["errors"])


# ---- filters


async def test_filters(worker: Worker) -> None:
    first = await worker.trigger("o-1")
    await worker.reached(first, "PICKED")
    await worker.trigger("o-2", start_at="2099-01-01T00:00:00Z")
    await refunded(worker, "x-1", {"customer": "ann", "address": {"city": "Rome"}})
    await refunded(worker, "x-2", {"customer": "bob & co", "address": {"city": "Oslo"}})

    assert await listed(worker, "prefix=o-") == ["o-1", "o-2"]
    assert await listed(worker, "search.customer=ann&search.customer=eve") == ["x-1"]
    assert await listed(worker, f"search.customer={quote('bob & co')}") == ["x-2"]
    assert await listed(worker, "search.address.city=Rome&search.customer=ann") == ["x-1"]
    assert await listed(worker, "search.address.city=Rome&search.customer=bob") == []
    assert await listed(worker, "status=CREATED&workflow=orders") == ["o-2"]
    created = (await worker.get(f"/api/v1/runs/{first}")).json["created_at"]
    assert await listed(worker, f"created_before={quote(created)}") == []
    assert await listed(worker, f"created_after={quote(created)}&prefix=o-1") == ["o-1"]
    assert await listed(worker, "updated_before=2020-01-01T00:00:00%2B02:00") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("search.nope=1", "search.nope"),
        ("search=1", "search"),
        ("search=1&search.customer=1", "search"),
        ("search.=1", "search."),
        ("search.customer=" + "&search.customer=".join("x" * (MAX_VALUES + 1)), "search.customer"),
        ("status=" + "&status=".join("x" * (MAX_VALUES + 1)), "status"),
        ("prefix=" + "x" * 501, "prefix"),
        ("prefix=%01", "prefix"),
        ("prefix=a&prefix=b", "prefix"),
        ("created_after=2030-01-01T00:00:00", "created_after"),
        ("updated_before=soon", "updated_before"),
        ("nope=1", "nope"),
    ],
)
async def test_what_can_not_be_asked(worker: Worker, query: str, field: str) -> None:
    assert refused(await worker.get(f"/api/v1/runs?{query}")) == field
    assert refused(await worker.get(f"/api/v1/runs/count?{query}")) == field


async def test_a_count_has_no_pages(worker: Worker) -> None:
    for name in ("limit=1", "cursor=x", "order=created"):
        assert refused(await worker.get(f"/api/v1/runs/count?{name}")) == name.partition("=")[0]
    assert refused(await worker.get("/api/v1/runs?order=size")) == "order"


async def test_the_client_asks_for_the_same(worker: Worker) -> None:
    await refunded(worker, "x-1", {"customer": "a=b&c", "address": {"city": "Rome"}})
    await refunded(worker, "x-2", {"customer": "ann"})
    async with worker.client() as client:
        query = Query(search={"customer": ["a=b&c", "+ %"], "address.city": ["Rome"]})
        assert [run.foreign_id for run in (await client.find(query)).runs] == ["x-1"]
        assert await client.count(query) == 1
        assert await client.count() == 2
        now = datetime.now(UTC)
        late = Query(created_after=now + timedelta(hours=1), order="-updated")
        assert (await client.find(late)).runs == []
        assert await client.count(Query(created_before=now + timedelta(hours=1))) == 2
        refunds = worker.host.workflows["refunds"]
        runs = [run async for run in client.list(refunds, search={"customer": "ann"})]
        assert [run.foreign_id for run in runs] == ["x-2"]
        with pytest.raises(InvalidQuery) as refusal:
            await client.count(Query(search={"nope": ["x"]}))
        assert refusal.value.field == "search.nope"


# ---- several workers


async def fill(pair: Pair) -> list[str]:
    ids = []
    for number in range(6):
        worker, letter = ((pair.a, "a"), (pair.b, "b"))[number % 2]
        ids.append(await worker.trigger(f"{letter}-{number}", start_at="2099-01-01T00:00:00Z"))
    return ids


@pytest.mark.parametrize("order", ORDERS)
async def test_pages_of_all_workers_make_one_list(pair: Pair, order: str) -> None:
    ids = await fill(pair)
    await pair.b.post(f"/api/v1/runs/{ids[0]}/pause")
    if "foreign_id" in order:
        wanted = [*ids[0::2], *ids[1::2]]
    else:
        wanted = [*ids[1:], ids[0]] if "updated" in order else ids
    wanted = wanted[::-1] if order.startswith("-") else wanted
    for worker in (pair.a, pair.b):
        for size in (1, 2, 4, 6):
            found: list[str] = []
            cursor = ""
            while True:
                query = f"order={order}&limit={size}" + (f"&cursor={cursor}" if cursor else "")
                page = (await worker.get(f"/api/v1/runs?{query}")).json
                assert len(page["runs"]) <= size
                found += [run["run_id"] for run in page["runs"]]
                cursor = page["cursor"]
                if cursor is None:
                    break
            assert found == wanted


async def test_a_count_is_of_all_workers(pair: Pair) -> None:
    await fill(pair)
    for worker in (pair.a, pair.b):
        for query, count in (("", 6), ("prefix=a", 3), ("workflow=orders&foreign_id=b-1", 1)):
            reply = await worker.get(f"/api/v1/runs/count?{query}")
            assert reply.json == {"count": count, "missing": []}
    pair.urls["b"] = url = await nowhere()
    reply = await pair.a.get("/api/v1/runs/count")
    assert reply.json == {"count": 3, "missing": [url]}
    async with pair.a.client() as client:
        with pytest.raises(NotReady, match=url):
            await client.count()
        with pytest.raises(NotReady, match=url):
            _ = [run async for run in client.list(pair.a.workflow)]


# ---- the same for many


async def steered(worker: Worker, **asked: Any) -> dict[str, Any]:
    reply = await worker.post(BULK, asked)
    assert reply.status == 200, reply.body
    return dict(reply.json)


async def states(worker: Worker) -> dict[str, str]:
    page = (await worker.get("/api/v1/runs?limit=100")).json
    return {run["foreign_id"]: run["state"] for run in page["runs"]}


async def test_many_runs_are_steered_part_by_part(pair: Pair) -> None:
    ids = await fill(pair)
    await pair.a.post(f"/api/v1/runs/{ids[2]}/cancel")
    asked = {"action": "pause", "query": {"workflow": "orders"}, "reason": "stop", "limit": 4}
    first = await steered(pair.a, **asked)
    assert (first["matched"], first["changed"]) == (4, 3)
    [refusal] = first["refused"]
    assert refusal == {
        "run_id": ids[2],
        "foreign_id": "a-2",
        "workflow": "orders",
        "why": f"Can't pause run {ids[2]}: it is CANCELLED.",
    }
    assert list((await states(pair.b)).values()).count("PAUSED") == 3
    # Any worker goes on.
    rest = await steered(pair.b, **asked, cursor=first["cursor"])
    assert rest == {"matched": 2, "changed": 2, "refused": [], "cursor": None}
    assert sorted((await states(pair.a)).values()) == ["CANCELLED", *["PAUSED"] * 5]
    run = (await pair.a.get(f"/api/v1/runs/{ids[5]}")).json
    assert run["reason"] == "stop"


async def test_a_filter_on_what_is_changed_passes_over_none(pair: Pair) -> None:
    await fill(pair)
    cursor, changed = None, []
    while True:
        asked: dict[str, Any] = {"action": "pause", "query": {"state": ["INITIATED"]}, "limit": 1}
        part = await steered(pair.a, **asked, **({"cursor": cursor} if cursor else {}))
        changed.append(part["changed"])
        cursor = part["cursor"]
        if cursor is None:
            break
    assert sum(changed) == 6
    assert set((await states(pair.a)).values()) == {"PAUSED"}


async def test_one_foreign_id_is_steered_by_its_owner(pair: Pair) -> None:
    await fill(pair)
    query = {"workflow": "orders", "foreign_id": "b-1"}
    part = await steered(pair.a, action="cancel", query=query)
    assert (part["matched"], part["changed"]) == (1, 1)
    assert (await states(pair.a))["b-1"] == "CANCELLED"
    reply = await pair.a.post(
        BULK, {"action": "cancel", "query": {"workflow": "orders", "foreign_id": "unowned"}}
    )
    assert reply.status == 503


async def test_with_a_key_a_repeat_changes_nothing_more(worker: Worker) -> None:
    run_id = await worker.trigger("o-1", start_at="2099-01-01T00:00:00Z")
    for _ in range(2):
        part = await steered(worker, action="pause", query={"prefix": "o"}, key="k")
        assert (part["matched"], part["changed"]) == (1, 1)
    assert (await worker.get(f"/api/v1/runs/{run_id}")).json["version"] == 2
    part = await steered(worker, action="pause", query={"prefix": "o"})
    assert (part["changed"], len(part["refused"])) == (0, 1)


async def test_nothing_is_steered_while_a_worker_can_not_be_asked(pair: Pair) -> None:
    await fill(pair)
    url, pair.urls["b"] = pair.urls["b"], await nowhere()
    reply = await pair.a.post(BULK, {"action": "cancel", "query": {"workflow": "orders"}})
    assert (reply.status, reply.json["type"]) == (503, "urn:streamwf:error:NotReady")
    pair.urls["b"] = url
    assert set((await states(pair.a)).values()) == {"INITIATED"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "action, query"),
        ({"action": "explode", "query": {}}, "action"),
        ({"action": "pause"}, "query"),
        ({"action": "pause", "query": {}, "limit": 501}, "limit"),
        ({"action": "pause", "query": {}, "limit": 0}, "limit"),
        ({"action": "pause", "query": {"limit": 3}}, "query.limit"),
        ({"action": "pause", "query": {"state": ["LOST"]}}, "query.state.0"),
        ({"action": "pause", "query": {"search": {"nope": ["x"]}}}, "search.nope"),
        ({"action": "pause", "query": {}, "cursor": "nobody made this"}, "cursor"),
        ({"action": "pause", "query": {}, "when": "now"}, "when"),
    ],
)
async def test_what_can_not_be_done(worker: Worker, body: dict[str, Any], field: str) -> None:
    await worker.trigger("o-1", start_at="2099-01-01T00:00:00Z")
    assert refused(await worker.post(BULK, body)) == field
    assert set((await states(worker)).values()) == {"INITIATED"}


async def test_looking_changes_nothing(worker: Worker) -> None:
    await worker.trigger("o-1", start_at="2099-01-01T00:00:00Z")
    reply = await worker.get(BULK)
    assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    assert set((await states(worker)).values()) == {"INITIATED"}


async def test_the_client_goes_on_to_the_end(pair: Pair) -> None:
    ids = await fill(pair)
    await pair.a.post(f"/api/v1/runs/{ids[1]}/cancel")
    async with Client.over_http(pair.a.url) as client:
        query = Query(workflow="orders", limit=1, order="-created")
        parts = [part async for part in client.bulk("pause", query, "a reason", batch=4)]
        assert [(part.matched, part.changed) for part in parts] == [(4, 3), (2, 2)]
        assert [refusal.run_id for part in parts for refusal in part.refused] == [ids[1]]
        paused = await client.find(Query(state=[State.PAUSED]))
        assert {run.reason for run in paused.runs} == {"a reason"}

        async for part in client.bulk("cancel", Filter(), batch=2):
            assert part.matched == 2
            break
        assert await client.count(Filter(state=[State.CANCELLED])) == 3
        with pytest.raises(InvalidQuery):
            _ = [part async for part in client.bulk("pause", Filter(), batch=501)]
