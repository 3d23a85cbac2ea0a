"""What a result was measured on, and whether anything else went on there. Names no host."""

import os
import platform
import re
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from streamwf.adapters.kafka_jars import KAFKA_VERSION

PACKAGES = ("aiokafka", "faust-streaming", "msgspec", "pydantic", "rocksdict", "uvloop")

#: The share of the processors' time that an idle machine may use, and the seconds of a look.
IDLE, LOOK = 0.1, 3.0

#: Seconds that a benchmark waits for the machine to be idle.
PATIENCE = 60.0


def output(*command: str) -> str:
    """What a command says; empty if it cannot be run or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found.group(1) if found else platform.machine()


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def facts() -> dict[str, str | float | dict[str, str]]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpu_model(),
        "cores": float(os.cpu_count() or 1),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": versions(),
        "broker": "of KAFKA_BROKERS" if os.environ.get("KAFKA_BROKERS") else KAFKA_VERSION,
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The short name of the commit, with `-changed` if the checkout is not as it says."""
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    return (output("git", "rev-parse", "--short=10", "HEAD") or "unknown") + "-changed" * bool(
        changed
    )


def ticks() -> tuple[int, int]:
    """(busy, all) of the processors since the machine was started; zeros where nobody says."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return 0, 0
    counts = [int(each) for each in first.split()[1:9]]
    return sum(counts) - counts[3] - counts[4], sum(counts)


def busy() -> float:
    """The share of the processors' time that is used while this looks."""
    before = ticks()
    time.sleep(LOOK)
    after = ticks()
    return (after[0] - before[0]) / max(after[1] - before[1], 1)


def wait_until_idle(patience: float = PATIENCE) -> float:
    """How busy the machine is, once that is little or patience has ended."""
    deadline = time.monotonic() + patience
    while (share := busy()) > IDLE and time.monotonic() < deadline:
        pass
    return share
