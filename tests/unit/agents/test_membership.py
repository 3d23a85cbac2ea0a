"""What a worker's client is told of its group."""

from pathlib import Path

from streamwf.agents import faust_app
from streamwf.settings import Settings
from tests.kafka.flows import orders

#: Seconds without a fetch that are as good as for ever: ten times those of Faust's own default.
LONG = 10_000


async def test_a_worker_does_not_leave_its_group_for_fetching_nothing(tmp_path: Path) -> None:
    app = faust_app(orders, settings=Settings(data_dir=tmp_path))
    consumer = app.consumer._thread._create_worker_consumer(app.transport)
    await consumer.stop()
    assert consumer._max_poll_interval_ms > 1_000 * LONG
