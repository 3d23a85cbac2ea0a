"""How soon a worker is replaced follows from its session timeout, down to the client."""

from datetime import timedelta
from pathlib import Path

import pytest

from streamwf.agents import faust_app
from streamwf.agents.membership import Membership
from streamwf.settings import Settings
from tests.kafka.flows import orders

#: Seconds without a fetch that are as good as for ever: ten times those of Faust's own default.
LONG = 10_000


@pytest.mark.parametrize(
    ("session", "expected"),
    [
        (10, Membership(session=10, heartbeat=0.5, lease=6, quiesce=1)),
        (2, Membership(session=2, heartbeat=0.2, lease=1.2, quiesce=0.2)),
        (60, Membership(session=60, heartbeat=0.5, lease=36, quiesce=1)),
    ],
)
def test_all_follows_from_the_session_timeout(session: int, expected: Membership) -> None:
    membership = Membership.of(Settings(session_timeout=timedelta(seconds=session)))
    assert membership == pytest.approx(expected)


async def test_the_fast_setting_reaches_the_client(tmp_path: Path) -> None:
    settings = Settings(session_timeout=timedelta(seconds=2), data_dir=tmp_path)
    app = faust_app(orders, settings=settings)
    consumer = app.consumer._thread._create_worker_consumer(app.transport)
    await consumer.stop()
    assert consumer._session_timeout_ms == 2_000
    assert consumer._heartbeat_interval_ms == 200
    assert consumer._max_poll_interval_ms > 1_000 * LONG, "it would leave the group for being idle"
