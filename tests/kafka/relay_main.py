"""A relay process of these tests. Everything is said in the environment.

KILL_AT: the number of the batch that is the last: the process is killed when the log has it, and
    the outbox still has it too.
"""

import os
import signal
import sys
from collections.abc import Sequence

from streamwf.adapters.sql.outbox import SqlOutbox
from streamwf.agents.relay import run_relay
from streamwf.errors import StreamwfError
from streamwf.settings import load
from tests.kafka.flows_called import orders


def killed_at(last: int) -> None:
    delete, batches = SqlOutbox.delete, 0

    async def counted(self: SqlOutbox, ids: Sequence[int]) -> None:
        nonlocal batches
        batches += 1
        if batches == last:
            os.kill(os.getpid(), signal.SIGKILL)
        await delete(self, ids)

    SqlOutbox.delete = counted  # type: ignore[method-assign]


def main() -> None:
    if "KILL_AT" in os.environ:
        killed_at(int(os.environ["KILL_AT"]))
    try:
        run_relay([orders], load())
    except StreamwfError as error:
        sys.exit(str(error))


main()
