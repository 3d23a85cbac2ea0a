"""What aiokafka writes while it tries something again is left out of a worker's log."""

import logging
import time

import aiokafka.producer.sender  # noqa: F401 - its logger is followed if it is there
import pytest

from streamwf.adapters.kafka.outages import Outages

SENDER = "aiokafka.producer.sender"


@pytest.mark.parametrize(("level", "written"), [(logging.WARNING, False), (logging.DEBUG, True)])
async def test_what_is_tried_again_is_not_told(
    caplog: pytest.LogCaptureFixture, level: int, written: bool
) -> None:
    caplog.set_level(level, SENDER)
    async with Outages().followed("broker:9092", time.monotonic):
        again = "Got error produce response on topic-partition %s, retrying. Error: %s"
        logging.getLogger(SENDER).warning(again, "orders.events-3", "NotLeaderForPartitionError")
        logging.getLogger(SENDER).warning("Could not send %r: %r", "Produce", "something else")
    told = [record.getMessage() for record in caplog.records if record.name == SENDER]
    assert any("retrying" in line for line in told) == written
    assert any("something else" in line for line in told)
