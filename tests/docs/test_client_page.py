"""What docs/client.md shows is what happens."""

import asyncio
import re
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from streamwf import Client, errors
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.settings import Settings
from tests.cli.conftest import served
from tests.docs.readme import ROOT, blocks
from tests.web.harness import silent

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
SHOP, OVER_HTTP, SYNC, OVER_KAFKA, DEADLINE = blocks("python", PAGE)


def module(name: str, code: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(code, f"{name}.py", "exec"), made.__dict__)
    return made


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = module("shop", SHOP.text)
    monkeypatch.setitem(sys.modules, "shop", made)
    return made


@pytest.fixture
def url(shop: ModuleType) -> Iterator[str]:
    with served(shop.orders) as url:
        yield url


def test_over_http(url: str) -> None:
    assert asyncio.run(module("over_http", OVER_HTTP.text).sell(url)) == 7


def test_without_await(url: str) -> None:
    assert module("sync", SYNC.text).sell_many(url, ["tea", "milk", "sugar"]) == 15


@pytest.mark.kafka
async def test_straight_to_kafka(
    shop: ModuleType, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMWF_TOPIC_PREFIX", "client-page.")
    await ensure_topics(["orders"], Settings(brokers=kafka))
    page = module("over_kafka", OVER_KAFKA.text)
    assert await page.order(kafka, "tea") == await page.order(kafka, "tea")


def test_a_deadline_that_is_kept(url: str, shop: ModuleType) -> None:
    page = module("deadline", DEADLINE.text)

    async def place() -> object:
        async with Client.over_http(url) as client:
            return await page.place(client, "order-9", shop.Order(item="tea"))

    assert asyncio.run(place())


async def test_a_deadline_that_is_not(shop: ModuleType) -> None:
    page = module("deadline", DEADLINE.text.replace("seconds=2", "milliseconds=50"))
    async with silent() as url, Client.over_http(url) as client:
        assert await page.place(client, "order-9", shop.Order(item="tea")) is None


def test_the_errors_are_there() -> None:
    names = re.findall(r"`([A-Z]\w+)`", PAGE.partition("## Errors")[2])
    assert len(names) > 15
    for name in names:
        assert issubclass(getattr(errors, name), errors.StreamwfError)
