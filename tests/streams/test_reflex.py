"""The streamer on the tables of luno/reflex, on each database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from streamwf.adapters.sql.engine import create
from streamwf.adapters.streams.reflex import ReflexStreamer
from streamwf.ports import EventStreamer
from streamwf.testing.contracts.event_streamer import EventStreamerContract
from streamwf.testing.contracts.streams import OpenStreamer


class TestReflexStreamer(EventStreamerContract):
    @pytest.fixture
    def open_streamer(self, database_url: str) -> OpenStreamer:
        @asynccontextmanager
        async def opened() -> AsyncIterator[EventStreamer]:
            engine = create(database_url, "DATABASE_URL")
            streamer = ReflexStreamer(engine)
            try:
                yield streamer
            finally:
                await streamer.close()
                await engine.dispose()

        return opened
