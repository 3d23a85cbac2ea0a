"""The names of roles: what a worker does at a status in a shard that it holds."""

from enum import Enum, StrEnum

from .agenda import Kind


class Process(StrEnum):
    """What a role does at a status."""

    CONSUMER = "consumer"
    TIMEOUT = "timeout-consumer"
    CALLBACK = "callback-consumer"


#: By what is due of a run. All else is done beside its step.
PROCESSES = {
    Kind.STEP: Process.CONSUMER,
    Kind.TIMER: Process.TIMEOUT,
    Kind.CALL: Process.CALLBACK,
}


def role_name(workflow: str, status: Enum | str, process: str, shard: int, shards: int) -> str:
    """`{workflow}-{status}-{process}-{shard}-of-{shards}`, lower case, spaces as `_`.

    A status is called by its value if that is a text or a number, else by its name. shard: counted
    from 1.
    """
    told: object = status
    if isinstance(status, Enum):
        told = status.value if isinstance(status, str | int) else status.name
    name = f"{workflow}-{told}-{process}-{shard}-of-{shards}"
    return name.lower().replace(" ", "_")
