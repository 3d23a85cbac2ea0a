"""The streamer in memory, with one partition and with several."""

import pytest

from streamwf.adapters.streams.memory import MemoryStreamer, MemoryStreams
from streamwf.testing.contracts.event_streamer import EventStreamerContract
from streamwf.testing.contracts.streams import OpenStreamer, closing


@pytest.mark.parametrize("partitions", [1, 3])
class TestMemoryStreamer(EventStreamerContract):
    @pytest.fixture
    def open_streamer(self, partitions: int) -> OpenStreamer:
        streams = MemoryStreams(partitions=partitions)
        return lambda: closing(MemoryStreamer(streams))
