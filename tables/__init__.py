"""The tables that a shard's fold leads to: its runs, and the agenda of what is due."""
