"""Kafka: topics, the log, the changelog, clients; and topics that connectors read."""

from streamwf.adapters.kafka.source import KafkaTopic

__all__ = ["KafkaTopic"]
