"""A table whose disk was full for a while."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamwf.ports import Change
from streamwf.record import Record, encode_record
from streamwf.tables.runs import AsOf, Memory, RunsTable
from tests.support import record

LIMIT = 1 << 20

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a limit is told otherwise"
)


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process gets larger than a megabyte, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(table: RunsTable, position: int, size: int = 0) -> Record:
    run = record(reason="x" * size)
    table.write(
        [Change("o-1", table.get("o-1"), run)], [encode_record(run)], AsOf("t", 1, position)
    )
    return run


def test_a_table_that_could_not_be_written_is_mended(tmp_path: Path) -> None:
    table = RunsTable(tmp_path, Memory())
    written = write(table, 1)
    with no_room(), pytest.raises(Exception, match="IO error"):
        write(table, 2, size=2 * LIMIT)
    # There is room again, but RocksDB does not know.
    with pytest.raises(Exception, match="IO error"):
        write(table, 2)

    table.mend()
    assert (table.position, table.get("o-1")) == (1, written)
    write(table, 2)
    assert table.position == 2
    table.close()


def test_a_table_that_could_not_be_closed_is_closed(tmp_path: Path) -> None:
    table = RunsTable(tmp_path, Memory())
    with no_room(), pytest.raises(Exception, match="IO error"):
        write(table, 1, size=2 * LIMIT)
    table.close()
    assert RunsTable(tmp_path, Memory()).position is None
