"""Kafka: topics, the log, the changelog, clients; and topics that connectors read."""

from typing import TYPE_CHECKING

from streamwf.on_demand import on_demand

if TYPE_CHECKING:
    from streamwf.adapters.kafka.source import KafkaTopic
    from streamwf.settings import KafkaSecurity

__all__ = ["KafkaSecurity", "KafkaTopic"]

on_demand(
    __name__,
    {"KafkaSecurity": "streamwf.settings", "KafkaTopic": "streamwf.adapters.kafka.source"},
)
