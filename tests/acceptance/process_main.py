"""`streamwf` as this suite starts it.

CLOCK_BEHIND: seconds that the clock of this process is behind.
"""

import os
import sys
from datetime import UTC, datetime, timedelta

from streamwf.cli import main
from streamwf.execute import SystemClock

BEHIND = timedelta(seconds=float(os.environ.get("CLOCK_BEHIND", "0")))


def late(clock: SystemClock) -> datetime:
    return datetime.now(UTC) - BEHIND


if BEHIND:
    SystemClock.now = late  # type: ignore[method-assign]

main(sys.argv[1:])
