"""The first tables of the stores in SQL: shards, runs, timeouts, roles, the outbox and keys."""

from alembic import op
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

revision = "0001"
down_revision = None

metadata = MetaData()

_exact = String(200).with_variant(mysql.VARCHAR(200, collation="utf8mb4_bin"), "mysql", "mariadb")
_text = (
    Text()
    .with_variant(mysql.MEDIUMTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")
    .with_variant(postgresql.TEXT(collation="C"), "postgresql")
)
_bytes = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_digest = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
_number = BigInteger().with_variant(Integer(), "sqlite")


Table(
    "streamwf_shards",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("position", BigInteger, nullable=True),
    Column("token", BigInteger, nullable=False),
)

Table(
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

Table(
    "streamwf_timeouts",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("shard", Integer, primary_key=True),
    Column("due_at", BigInteger, primary_key=True),
    Column("key_digest", _digest, primary_key=True),
    Column("row_key", _bytes, nullable=False),
    Index("streamwf_timeouts_row", "workflow", "shard", "key_digest"),
)

Table(
    "streamwf_roles",
    metadata,
    Column("role_digest", _digest, primary_key=True),
    Column("role", _text, nullable=False),
    Column("holder", _exact, nullable=True),
    Column("wanted_by", _exact, nullable=True),
    Column("token", BigInteger, nullable=False),
    Column("held_until", BigInteger, nullable=False),
)

Table(
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

Table(
    "streamwf_keys",
    metadata,
    Column("workflow", _exact, primary_key=True),
    Column("run_digest", _digest, primary_key=True),
    Column("key_id", _exact, primary_key=True),
    Column("secret", _bytes, nullable=True),
)


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    # On MySQL a crash may have left tables without some of their indexes.
    for table in metadata.sorted_tables:
        for index in table.indexes:
            index.create(connection, checkfirst=True)
