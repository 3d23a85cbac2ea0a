"""Spans of what is appended, when it is not."""

import pytest

from streamwf.adapters.tracing import OpenTelemetry
from tests.support import SteppedClock
from tests.tracing import collecting

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_was_not_appended_is_an_error_of_each_event() -> None:
    with collecting() as spans:
        tracing = OpenTelemetry(SteppedClock())
        with (
            pytest.raises(ConnectionError),
            tracing.append("orders", "orders.events", 3, [TRACEPARENT, "", TRACEPARENT]),
        ):
            raise ConnectionError("no broker at secret.example.org")
        found = spans.all()
    assert [span["status"]["description"] for span in found] == ["ConnectionError"] * 2
    assert {span["parent_id"] for span in found} == {"0xb7ad6b7169203331"}
    assert found[0]["attributes"]["messaging.destination.partition.id"] == "3"
    assert "secret" not in str(found)
