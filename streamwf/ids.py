"""The ids of runs: by chance, or the same each time for a key."""

import os
import uuid
from collections.abc import Callable, Iterator

from .events import derived_id
from .lines import Line
from .views import Trigger

#: Ids that are made of one reading of the system's random bytes.
AT_ONCE = 256

#: The digit of a UUID that says its variant, too, by the random one in its place.
_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}


def random_id() -> str:
    """A UUID of version 4."""
    return str(uuid.uuid4())


def random_ids() -> Iterator[str]:
    """Random ids without end, each as good as `random_id`, at a fifth of its cost.

    It keeps random bytes: a process that is forked must not go on with one of its parent.
    """
    while True:
        digits = os.urandom(16 * AT_ONCE).hex()
        for at in range(0, len(digits), 32):
            one = digits[at : at + 32]
            yield f"{one[:8]}-{one[8:12]}-4{one[13:16]}-{_VARIANT[one[16]]}{one[17:20]}-{one[20:]}"


def run_id_of(workflow: str, trigger: Trigger | Line, new: Callable[[], str] = random_id) -> str:
    """The id of the run that a trigger asks for: the same each time if it has a key.

    new: makes the id of one that has none.
    """
    if trigger.key:
        return derived_id(workflow, trigger.foreign_id, trigger.key)
    return new()
