"""Kafka: topics, the log, the changelog, clients; and topics that connectors read."""

from streamwf.adapters.kafka.source import KafkaTopic
from streamwf.settings import KafkaSecurity

__all__ = ["KafkaSecurity", "KafkaTopic"]
