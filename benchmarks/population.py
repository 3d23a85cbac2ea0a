"""Which objects live in a process, by their types: a hook of the soak alone, to find what leaks."""

import gc
import json
import threading
import time
from collections import Counter
from pathlib import Path

#: Seconds between two counts. One holds the process up for some tens of milliseconds.
PAUSE = 20.0


def counted() -> Counter[str]:
    """How many objects of each type the collector knows. Those of C types alone it does not."""
    gc.collect()
    return Counter(
        f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects()
    )


def note(path: Path) -> None:
    """Write a line of JSON with the counts, time and again, for as long as the process lives."""

    def write() -> None:
        while True:
            time.sleep(PAUSE)
            with path.open("a") as file:
                file.write(json.dumps(counted()) + "\n")

    threading.Thread(target=write, name="population", daemon=True).start()


def grown(path: Path, most: int = 15) -> list[tuple[str, int, int]]:
    """(type, how many there were, how many there are) of those that have grown most in number,
    after the first third of the counts."""
    counts = [Counter(json.loads(line)) for line in path.read_text().splitlines()]
    if len(counts) < 2:
        return []
    first, last = counts[len(counts) // 3], counts[-1]
    most_grown = (last - first).most_common(most)
    return [(name, first[name], last[name]) for name, _ in most_grown]
