"""Event streamers: the log in memory, on Kafka, in tables that luno/reflex reads, too."""
