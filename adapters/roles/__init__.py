"""Who does what: roles in memory, and as leases in SQL."""
