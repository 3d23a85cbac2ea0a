"""Stores in Redis: one server, or one with replicas that are promoted; not a cluster."""
