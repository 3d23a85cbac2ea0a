"""The Faust host: workers that share the partitions of the workflows."""
