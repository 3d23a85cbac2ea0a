"""The tables of the stores in SQL, which the migrations make.

Keys and ids have any characters and up to some 1,000 of them, more than an index takes everywhere:
rows are found by digests of them. Instants are whole microseconds since 1970, in UTC, as no two
databases keep time zones and fractions alike.
"""

import hashlib

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import mysql, postgresql

#: Characters of the name of a workflow, a status, a role.
NAME = 200

metadata = MetaData()

# Text that compares byte by byte, whatever the database's collation.
_exact = String(NAME).with_variant(mysql.VARCHAR(NAME, collation="utf8mb4_bin"), "mysql", "mariadb")
_text = (
    Text()
    .with_variant(mysql.MEDIUMTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")
    .with_variant(postgresql.TEXT(collation="C"), "postgresql")
)
_bytes = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
# SQLite numbers only what is called INTEGER.
_number = BigInteger().with_variant(Integer(), "sqlite")


def digest(*parts: str) -> bytes:
    """What rows are found by: the SHA-256 of their parts."""
    return hashlib.sha256("\0".join(parts).encode()).digest()


#: The shards, what their rows are as of, and the token of their owner.
shards = Table(
    "streamwf_shards",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("position", BigInteger, nullable=True),
    Column("token", BigInteger, nullable=False),
)

#: The rows of shards. row_key: in UTF-8, as some have characters that no text of a database may
#: have. record: as the changelog has it.
runs = Table(
    "streamwf_runs",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("key_digest", _digest, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("row_key", _bytes, nullable=False),
    Column("kind", _exact, nullable=False),
    Column("foreign_id", _text, nullable=False),
    Column("foreign_id_digest", _digest, nullable=False),
    Column("run_id", _text, nullable=False),
    Column("run_id_digest", _digest, nullable=False),
    Column("status", _exact, nullable=False),
    Column("state", _exact, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("record", _bytes, nullable=False),
    Index("streamwf_runs_shard", "workflow", "shard"),
    Index("streamwf_runs_run_id", "workflow", "run_id_digest"),
    Index("streamwf_runs_foreign_id", "workflow", "foreign_id_digest"),
    Index("streamwf_runs_created", "workflow", "created_at"),
    Index("streamwf_runs_state", "workflow", "state", "created_at"),
)

#: What is due when.
timeouts = Table(
    "streamwf_timeouts",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("due_at", BigInteger, primary_key=True),
    Column("key_digest", _digest, primary_key=True),
    Column("row_key", _bytes, nullable=False),
    Index("streamwf_timeouts_row", "workflow", "shard", "key_digest"),
)

#: Who holds which role, and until when unless it says so again. wanted_by: who has asked for it.
roles = Table(
    "streamwf_roles",
    metadata,
    Column("role_digest", _digest, primary_key=True),
    Column("role", _text, nullable=False),
    Column("holder", _exact, nullable=True),
    Column("wanted_by", _exact, nullable=True),
    Column("token", BigInteger, nullable=False),
    Column("held_until", BigInteger, nullable=False),
)

#: Requests that users have written in transactions of their own, on their way to the log.
#: refused: why one can't be appended, for people to mend; null while it waits.
outbox = Table(
    "streamwf_outbox",
    metadata,
    Column("id", _number, primary_key=True, autoincrement=True),
    Column("workflow", _exact, nullable=False),
    Column("foreign_id", _text, nullable=False),
    Column("event", _bytes, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("refused", _text, nullable=True),
    Index("streamwf_outbox_workflow", "workflow", "id"),
    sqlite_autoincrement=True,
)

#: Keys of the runs of workflows that encrypt; without a secret, once they are destroyed.
keys = Table(
    "streamwf_keys",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("run_digest", _digest, primary_key=True),
    Column("key_id", _exact, primary_key=True),
    Column("secret", _bytes, nullable=True),
)
