"""A program that only asks loads nothing of what a worker is made of."""

import subprocess
import sys

#: Packages that workers need, or the command line.
OF_WORKERS = (
    *("faust", "rocksdict", "aiokafka", "sqlalchemy", "alembic", "aiosqlite"),
    *("prometheus_client", "structlog", "uvloop", "click", "rich"),
)

ASK = f"""
import sys
from unittest.mock import patch

with patch.dict(sys.modules, dict.fromkeys({OF_WORKERS!r})):
    from streamwf import Client, SyncClient
    from streamwf.errors import WorkerUnreachable

    with Client.over_http("http://127.0.0.1:1").sync() as client:
        try:
            client.count()
        except WorkerUnreachable as error:
            print(error)
"""


def test_a_client_over_http_needs_no_package_of_a_worker() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK], capture_output=True, text=True, timeout=60, check=False
    )
    assert asked.stdout.startswith("No worker answers at http://127.0.0.1:1."), asked.stderr
