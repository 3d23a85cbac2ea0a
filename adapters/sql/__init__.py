"""Stores in PostgreSQL, MySQL and MariaDB, and SQLite."""
