"""What processes take of this machine, and which cores they may have. Linux alone tells."""

import os
from collections.abc import Collection
from pathlib import Path

#: Ticks of the processors' clock in a second.
TICKS = os.sysconf("SC_CLK_TCK")

#: The fields of /proc/stat in which a core did something: all but idle, waiting for a disk, and
#: the two that are counted in others already.
BUSY = (0, 1, 2, 5, 6, 7)


def cpu_of(pid: int) -> float:
    """CPU seconds that a process has taken up to now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_of_all() -> float:
    """CPU seconds that all processes have taken up to now, and the kernel."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[number]) for number in BUSY) / TICKS


def memory_and_threads(pid: int) -> tuple[float, int]:
    """Resident megabytes, and threads."""
    said = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in said.splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"])


def pin(pid: int, cores: Collection[int]) -> None:
    """Let a process have these cores alone, with the threads it has and those it will have."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cores)
        except ProcessLookupError:
            continue
