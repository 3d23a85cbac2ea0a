"""Every error that streamwf raises on purpose.

The docstring of a class is its message: it says what is wrong and names the cure. Fields in
braces are filled from the keyword arguments, which stay readable as attributes.
"""

import inspect
from typing import Any


class StreamwfError(Exception):
    """Something went wrong in streamwf."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        template = inspect.cleandoc(type(self).__doc__ or type(self).__name__)
        super().__init__(template.format(**fields))

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.fields))


def _rebuild(kind: type[StreamwfError], fields: dict[str, Any]) -> StreamwfError:
    return kind(**fields)


# ---- definitions


class InvalidDefinition(StreamwfError):
    """The workflow {workflow!r} can't run:
    {mistakes}"""


class DefinitionNotFound(StreamwfError):
    """No workflow found at {target!r}: {why}. Give it as MODULE:WORKFLOW or path/to/file.py."""


class LiveRunsInUnknownStatus(StreamwfError):
    """{count} live runs of {workflow!r} are in status {status!r}, which the definition no longer
    has. Put the status back (with a step that moves them on), or cancel those runs with the
    former version, and start again."""


class InvalidCron(StreamwfError):
    """The {field} of schedule {text!r} can't be used: {why}."""


# ---- asking and steering


class RequestRefused(StreamwfError):
    """The request was refused: {why}."""


class RunInProgress(RequestRefused):
    """{foreign_id!r} has a run in progress: {run_id}. Wait for it or cancel it, then trigger."""


class TransitionRefused(RequestRefused):
    """Can't {action} run {run_id}: it is {state}."""


class RunNotFound(StreamwfError):
    """No run {run_id!r} is known here. Check the id, and that its workflow's workers run."""


class WorkflowNotFound(StreamwfError):
    """No workflow {workflow!r} here; there are: {known}."""


class UnknownStatus(RequestRefused):
    """{workflow!r} has no status {status!r}; it has: {known}."""


class TerminalStart(RequestRefused):
    """A run of {workflow!r} can't start at {status!r}: nothing is left to do there."""


class InvalidObject(RequestRefused):
    """The object does not fit {workflow!r}: {detail}."""


class InvalidForeignId(RequestRefused):
    """A foreign id has 1 to 500 characters and no control characters; got {foreign_id!r}."""


class InvalidQuery(RequestRefused):
    """{field} can't be read: {why}."""

    def __init__(self, field: str, why: str, errors: list[dict[str, str]] | None = None) -> None:
        """errors: each field that is wrong, if there are several, as for InvalidObject."""
        wrong = errors or [{"field": field, "message": why}]
        super().__init__(field=field, why=why, errors=wrong)


class AwaitFailed(StreamwfError):
    """Run {run_id} will not reach {wanted}: it is {state} at {status}. {reason}"""


class DeadlineExceeded(StreamwfError):
    """{what} took longer than {seconds} s. It may still happen: ask again, or wait longer."""


# ---- records


class UnreadableRecord(StreamwfError):
    """{why}"""


class RecordTooLarge(StreamwfError):
    """The {what} has {size} bytes and the limit is {limit}. Keep large content elsewhere and put
    a reference into the object, or raise max_record_bytes and the topic's max.message.bytes."""


# ---- what runs beneath


class BrokerUnreachable(StreamwfError):
    """No Kafka broker answers at {brokers}. Start one, or name another with --brokers or
    KAFKA_BROKERS. ({cause})"""


class PartitionMismatch(StreamwfError):
    """Topic {topic!r} has {actual} partitions, but {expected} are asked for. Runs would change
    shards: set partitions to {actual}, or use another topic prefix."""


class TopicRefused(StreamwfError):
    """The broker refused topic {topic!r}: {why}. Check the worker's rights and the broker's
    limits, or create the topic by hand."""


class LogShorterThanTables(StreamwfError):
    """Topic {topic!r}, partition {partition}, ends at {end}, but the tables are as of {position}.
    Was it deleted and made anew? Then `streamwf rebuild` makes the tables fit it."""


class DataDirInUse(StreamwfError):
    """The data directory {path} is in use by another worker. Give each worker its own with
    --data-dir."""


class CannotListen(StreamwfError):
    """Can't listen on {host}:{port}: {cause}. Stop what listens there, or choose another address
    with --host and --port (of `streamwf worker`: --web-host and --web-port) or STREAMWF_WEB_HOST
    and STREAMWF_WEB_PORT. Port 0 takes a free one."""


class WorkersRunning(StreamwfError):
    """{count} workers of {app_id!r} are running. Stop them first: rebuild replaces the tables
    that they write."""


class WorkerUnreachable(StreamwfError):
    """No worker answers at {url}. Start one with `streamwf worker` or `streamwf dev`, or name
    another with --url. ({cause})"""


class WorkerFailed(StreamwfError):
    """The worker at {url} could not answer: {cause}"""


class NotReady(StreamwfError):
    """{what} is still being recovered. Try again in a moment."""


class InvalidSettings(StreamwfError):
    """The settings can't be used:
    {mistakes}"""


# ---- raised by users' steps


class Fatal(Exception):
    """Raise it in a step to say that trying again is of no use.

    The run moves to the step's `on_error` status, or pauses with the error kept on it.
    """


class UndeclaredTransition(StreamwfError):
    """The step at {status} returned {returned!r}, which is not among its destinations:
    {declared}. Add it to `to=`, or return one of them."""


class NaiveDeadline(StreamwfError):
    """Timeout {name!r} is due at {due}, which has no time zone. Give it one."""


class StepTimedOut(StreamwfError):
    """The step at {status} ran longer than its timeout of {seconds} s."""
