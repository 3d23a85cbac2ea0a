"""Kafka: topics, the log, the changelog, clients."""
