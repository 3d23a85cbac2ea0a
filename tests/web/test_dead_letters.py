"""Dead letters over HTTP."""

import pytest

from streamwf.errors import LetterNotFound
from tests.support import eventually
from tests.web.harness import Worker

LETTERS = "/api/v1/dead-letters"


async def poison(worker: Worker, *values: bytes) -> list[dict[str, str]]:
    """What is listed once these are set aside, the latest first."""
    for value in values:
        worker.host.logs["orders"].append(b"k", value, 0)

    async def all_there() -> list[dict[str, str]] | None:
        found: list[dict[str, str]] = (await worker.get(LETTERS)).json["letters"]
        return found if len(found) == len(values) else None

    found = await eventually(all_there)
    assert found is not None
    return found


async def test_they_are_listed_shown_and_dropped(worker: Worker) -> None:
    letter, _ = await poison(worker, b"hello", b"world")
    path = f"{LETTERS}/{letter['id']}"
    assert (await worker.get(path)).json == letter
    dropped = await worker.post(f"{path}/drop", {"reason": "spam"})
    assert (dropped.status, dropped.json["action"]) == (200, "drop")
    again = await worker.post(f"{path}/drop")
    assert (again.status, again.json["type"]) == (404, "urn:streamwf:error:LetterNotFound")
    assert (await worker.get(LETTERS)).json["count"] == 1


async def test_pages(worker: Worker) -> None:
    letters = await poison(worker, *(f"poison {n}".encode() for n in range(5)))
    first = (await worker.get(f"{LETTERS}?limit=3&workflow=orders")).json
    second = (await worker.get(LETTERS, params={"limit": "3", "cursor": first["cursor"]})).json
    assert first["letters"] + second["letters"] == letters
    assert second["cursor"] is None
    assert (await worker.get(f"{LETTERS}?workflow=refunds")).json["letters"] == []


async def test_what_still_can_not_be_used_is_refused(worker: Worker) -> None:
    [letter] = await poison(worker, b"hello")
    reply = await worker.post(f"{LETTERS}/{letter['id']}/retry")
    assert (reply.status, reply.json["type"]) == (422, "urn:streamwf:error:LetterNotSent")
    assert "it is not JSON" in reply.json["detail"]


async def test_questions_that_make_no_sense(worker: Worker) -> None:
    for query in ("limit=0", "limit=x", "limit=201", "cursor=x", "colour=blue"):
        assert (await worker.get(f"{LETTERS}?{query}")).status == 422, query
    assert (await worker.get(f"{LETTERS}?workflow=nowhere")).status == 404
    for id in ("x", "orders:0:99", "orders:99:0", "%2E%2E", "orders:0:-1"):
        assert (await worker.get(f"{LETTERS}/{id}")).status == 404, id
        assert (await worker.post(f"{LETTERS}/{id}/drop")).status == 404, id
    assert (await worker.post(f"{LETTERS}/orders:0:0/burn")).status == 404


async def test_the_client_speaks_of_them(worker: Worker) -> None:
    for n in range(60):
        worker.host.logs["orders"].append(None, f"poison {n}".encode(), 0)
    await eventually(lambda: len(worker.host.logs["orders"].dead_letters) == 60)
    async with worker.client() as client:
        found = [letter async for letter in client.dead_letters(worker.workflow)]
        assert len({letter.id for letter in found}) == 60
        assert (await client.dead_letter(found[0].id)).id == found[0].id
        assert (await client.drop_dead_letter(found[0].id)).action == "drop"
        with pytest.raises(LetterNotFound, match="settled"):
            await client.drop_dead_letter(found[0].id)
