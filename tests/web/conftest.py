from collections.abc import AsyncIterator

import pytest

from tests.web.harness import Pair, Worker, running, two_workers


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    async with running() as started:
        yield started


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with two_workers() as started:
        yield started
