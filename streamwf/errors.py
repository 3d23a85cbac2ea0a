"""Every error that streamwf raises on purpose.

The docstring of a class is its message: it says what is wrong and names the cure. Fields in
braces are filled from the keyword arguments, which stay readable as attributes.
"""

import inspect
from typing import Any

from .counting import Sentence


class StreamwfError(Exception):
    """Something went wrong in streamwf."""

    def __init__(self, **fields: Any) -> None:
        self.fields = fields
        template = inspect.cleandoc(type(self).__doc__ or type(self).__name__)
        super().__init__(Sentence().vformat(template, (), fields))

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
    """{count:live run is/live runs are} in status {status!r}, which the definition of {workflow!r}
    no longer has. Say what it is now, with renamed={{{status!r}: STATUS}}; or put the status back,
    with a step that moves runs on; or cancel them with the former version. `streamwf check TARGET
    --against kafka` tells before a deployment which runs can't go on."""


# ---- asking and steering


class RequestRefused(StreamwfError):
    """The request was refused: {why}."""


class RunInProgress(RequestRefused):
    """{foreign_id!r} has a run in progress: {run_id}. Wait for it or cancel it, then trigger."""


class TransitionRefused(RequestRefused):
    """Can't {action} run {run_id}: it is {state}."""


class VersionDiffers(RequestRefused):
    """Can't {action} run {run_id} as of version {expected}: it is at version {version}. Look at
    what it has become, and ask again with that version."""


class KeyReused(RequestRefused):
    """Key {key!r} came with another request before, and that one counts. Give each request a key
    of its own, and the same key only to its repeats."""


class NotWaiting(RequestRefused):
    """Run {run_id} does not wait for callback {name!r}: it is {state} at {status}."""


class InvalidPayload(RequestRefused):
    """What came does not fit callback {name!r}: {detail}."""


class UnknownCallback(RequestRefused):
    """{workflow!r} has no callback {name!r}; it has: {known}."""


class CallbackFailed(RequestRefused):
    """Callback {name!r} of run {run_id} failed for good: {type}: {error}"""


class TooManyChildren(StreamwfError):
    """Run {run_id} has {count} children, and no more can be kept with it. Let a step wait for them
    before it starts others, or start some from its children."""


class PartitionNotFound(RequestRefused):
    """The log has no partition {partition}: its partitions are 0 to {last}."""


class PartitionNotNamed(RequestRefused):
    """Offset {offset} may be in any of {count:partition}. Name them, as in 0:{offset},1:{offset};
    or name a run, which is in one of them."""


class VersionNotFound(RequestRefused):
    """Run {run_id} can't be forked from version {version}: its versions from {first} to {last} are
    kept, and the first of them that has an object."""


class VersionUnknown(RequestRefused):
    """Run {run_id} has had no version {version}: its versions are 1 to {last}."""


class HistoryIncomplete(RequestRefused):
    """The first events of run {run_id} are not to be found any more: its last {kept} are known by
    their places, as far as the log still has them. `streamwf replay TARGET --until MOMENT --run
    {run_id}` folds all that the log has."""


class TooManyCallbacks(RequestRefused):
    """{foreign_id!r} has {count} callbacks that wait already, and no room for this one. Try again
    once some are answered."""


class RunNotFound(StreamwfError):
    """No run {run_id!r} is known here. Check the id, and that its workflow's workers run."""


class ForeignIdNotFound(StreamwfError):
    """{foreign_id!r} has no run of {workflow!r}. Check the id, or let the callback wait for one
    with wait_for."""


class NothingCorrelated(StreamwfError):
    """No run waits for callback {name!r} by {value!r}. Check the value, or let the callback wait
    for one with wait_for."""


class WorkflowNotFound(StreamwfError):
    """No workflow {workflow!r} here; there are: {known}."""


class UnknownStatus(RequestRefused):
    """{workflow!r} has no status {status!r}; it has: {known}."""


class TerminalStart(RequestRefused):
    """A run of {workflow!r} can't start at {status!r}: nothing is left to do there."""


class InvalidObject(RequestRefused):
    """The object does not fit {workflow!r}: {detail}."""


class ObjectUnreadable(StreamwfError):
    """The object of {workflow!r} can't be read: the validators of its type raised {type} in
    {function}, line {line}. What else that says is left out, as the type has masked fields. Let
    validators raise ValueError."""


class ObjectMasked(StreamwfError):
    """The object of run {run_id} has masked fields, and can't be made without their values. Ask in
    the process that runs {workflow!r}, or look at it as it is shown, with `client.find`."""


class InvalidCron(RequestRefused):
    """The {field} of schedule {text!r} can't be used: {why}."""


class ScheduleNotFound(StreamwfError):
    """{workflow!r} has no schedule {name!r}. `streamwf schedules list` tells which there are."""


class ScheduleRefused(TransitionRefused):
    """Can't {action} schedule {name!r}: it is {state}."""


class ScheduleDeclared(RequestRefused):
    """Schedule {name!r} of {workflow!r} is declared in its code. {action} it there: here it can
    only be paused and resumed."""


class ScheduleNotDeclared(RequestRefused):
    """Schedule {name!r} was declared in the code of {workflow!r}, and is no more: nothing makes
    the objects of its runs. Declare it again, or delete it with `streamwf schedules delete`."""


class SlotFailed(RequestRefused):
    """The function of schedule {name!r} failed at slot {slot}: {error}. Mend it, and ask again:
    what was requested before is not requested twice."""


class SlotLeftOut(RequestRefused):
    """The function of schedule {name!r} leaves {slot} out: there is no run. Ask at another time, or
    start a run yourself, with `streamwf trigger`."""


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


class TooLargeForTopic(RecordTooLarge):
    """Topic {topic!r} takes no record of {size} bytes. Raise its max.message.bytes, or keep large
    content elsewhere and put a reference into the object."""


class KeyDestroyed(StreamwfError):
    """There is no key to the data of run {run_id}, so nobody can read it: it was destroyed when the
    data was deleted, or the data is another run's."""


class SealBroken(StreamwfError):
    """The sealed data of run {run_id} can't be opened: it was changed after it was sealed, or
    sealed by something other than streamwf. Write data to the log in plain JSON, or through the
    client."""


# ---- histories that were exported


class HistoryUnreadable(StreamwfError):
    """{path} has no history of a run: {why}. Write one with `streamwf runs history RUN --export
    FILE`."""


class HistoryNewer(StreamwfError):
    """The history {history} has form {found}, and this streamwf reads those up to {known}. Install
    a newer streamwf."""


class HistoryOfAnother(StreamwfError):
    """The history of run {run_id} is of workflow {found!r}, and not of {workflow!r}."""


class HistoryHidden(StreamwfError):
    """Run {run_id} can't go on from its history, in which objects are {hides}. `replay` checks as
    much of it as can be read; to go on, export a run of made-up values from a workflow that hides
    nothing."""


class ReplayFailed(StreamwfError, AssertionError):
    """Definition {definition} of {workflow!r} can't go on as run {run_id} of {foreign_id!r} did:
    {told}"""


# ---- connectors


class ConnectorReturned(RequestRefused):
    """Connector {name!r} returned {returned}. Return a Start, a Call, a list of them, or None."""


class ConnectorNotFound(StreamwfError):
    """{workflow!r} has no connector {name!r}; it has: {known}."""


class LetterNotFound(StreamwfError):
    """No dead letter {id!r} is to be settled: {why}. `streamwf dead-letters list` tells which
    there are."""


class LetterNotSent(RequestRefused):
    """Dead letter {id!r} can't be used now, either: {why} Mend that, or drop it."""


class ConnectorNotDeclared(StreamwfError):
    """{workflow!r} does not declare connector {name!r} any more. Declare it again to go on where it
    was, or cancel its runs (`streamwf connectors list` has their ids)."""


class SourceChanged(StreamwfError):
    """Connector {name!r} has read {former} up to now, and is to read {source}. What it has read is
    kept for {former}: give the connector another name to begin with {source}."""


class InvalidPosition(StreamwfError):
    """{source} has a message at position {position!r} after {former!r}: {why}. Each message needs a
    position of its own, a text of 1 to 500 characters."""


class TopicNotFound(StreamwfError):
    """There is no topic {topic!r} at {brokers}. Create it, or check its name."""


class PositionUnknown(StreamwfError):
    """Topic {topic!r}, partition {partition}, ends at {end}, but it was read up to {position}. Was
    it deleted and made anew? Then give the connector another name, to read it from its start."""


# ---- what runs beneath


class StoreUnreachable(StreamwfError):
    """{store} can't be reached: {cause}. Check that it runs, and the address in {setting}."""


class BrokerUnreachable(StoreUnreachable):
    """No Kafka broker answers at {brokers}. Start one, or name another with --brokers or
    KAFKA_BROKERS. ({cause})"""


class BrokerNotTrusted(BrokerUnreachable):
    """The certificate of the Kafka broker at {broker} is not trusted: {cause}. Give the certificate
    of who signed it in kafka_ca_file."""


class BrokerMisnamed(BrokerUnreachable):
    """The certificate of the Kafka broker at {broker} is not for that host: {cause}. Give the
    brokers by a name in it, or set kafka_check_hostname to false."""


class CertificateRefused(BrokerUnreachable):
    """The Kafka broker at {broker} does not accept kafka_cert_file, or wants one: {cause}."""


class LoginRefused(BrokerUnreachable):
    """The Kafka broker at {broker} refused the login of {username!r}: {cause}. Check
    kafka_username and kafka_password."""


class AccessDenied(BrokerUnreachable):
    """The Kafka brokers do not let this user use {what}. Grant it {operations} there, as with
    kafka-acls.sh, or check which user it is in kafka_username."""


class SessionTimeoutRefused(BrokerUnreachable):
    """The Kafka brokers allow no session_timeout of {session_timeout}. Set it to what they allow,
    which is 6s to 30m unless they are told otherwise; or set group.min.session.timeout.ms and
    group.max.session.timeout.ms there."""


class MechanismRefused(BrokerUnreachable):
    """The Kafka broker at {broker} has no login by {mechanism}. Set kafka_sasl_mechanism to one
    that it has."""


class ProtocolRefused(BrokerUnreachable):
    """The Kafka broker at {broker} does not speak {protocol} there: {cause}. Set
    kafka_security_protocol to what it speaks, or give the port for it in brokers."""


class PartitionMismatch(StreamwfError):
    """Topic {topic!r} has {actual:partition}, but {expected} are asked for. Runs would change
    shards: set partitions to {actual}, or use another topic prefix."""


class TopicRefused(StreamwfError):
    """The broker refused topic {topic!r}: {why}. Check the worker's rights and the broker's
    limits, or create the topic by hand."""


class LogSilent(StreamwfError):
    """The log has not answered for {seconds} s. Check that its brokers run, and can be reached."""


class LogShorterThanTables(StreamwfError):
    """The log {topic!r}, partition {partition}, ends at {end}, but the tables are as of {position}.
    Was it deleted and made anew, or is it another one? Then `streamwf rebuild` makes the tables fit
    it."""


class DataDirInUse(StreamwfError):
    """The data directory {path} is in use by another worker. Give each worker its own with
    --data-dir."""


class CannotListen(StreamwfError):
    """Can't listen on {host}:{port}: {cause}. Stop what listens there, or choose another address
    with --host and --port (of `streamwf worker`: --web-host and --web-port) or STREAMWF_WEB_HOST
    and STREAMWF_WEB_PORT. Port 0 takes a free one."""


class AccessNotConfigured(StreamwfError):
    """{host} is reached from other machines, and nothing says who may do what there. Say who gets
    in, with web_token_file (`streamwf token` makes one), STREAMWF_WEB_TOKEN or web_authenticator;
    or listen on 127.0.0.1. If something before it sees to who gets in: web_open (--web-open)."""


class WorkersRunning(StreamwfError):
    """{count:worker is/workers are} running in the group {app_id!r}. Stop all first: rebuild
    replaces the tables that they write."""


class WorkerUnreachable(StreamwfError):
    """No worker answers at {url}. Start one with `streamwf worker` or `streamwf dev`, or name
    another with --url. ({cause})"""


class ClientClosed(StreamwfError):
    """The client is closed, or was made in the process that this one was forked from. Make one
    where it is used."""


class NotOverKafka(StreamwfError):
    """Nobody answers {what!r} on Kafka, where workers judge later what is asked. Ask a worker, with
    Client.over_http."""


class WorkerFailed(StreamwfError):
    """The worker at {url} could not answer: {cause}"""


class NotReady(StreamwfError):
    """{what} is still being recovered. Try again in a moment."""


class StreamClosed(StreamwfError):
    """The {what} of stream {stream!r} is closed. Open another one."""


class RecordRefused(StreamwfError):
    """Table {table} can't take a record of {key!r}: {why}. Give its columns room for it."""


class StoreDenied(StoreUnreachable):
    """{store} refuses the user: {cause}. Check the user, the password and the rights in
    {setting}."""


class StoreNotTrusted(StoreUnreachable):
    """{store} shows a certificate that is not trusted: {cause}. Name the certificates of who signs
    it as sslrootcert in {setting}."""


class StoreMisnamed(StoreUnreachable):
    """{store} shows a certificate that is not for that host: {cause}. Name the host in {setting} as
    the certificate does; with sslmode=verify-ca the name is of no account."""


class StoreNotFound(StoreUnreachable):
    """{store} does not exist: {cause}. Create it, or check its name in {setting}."""


class NothingStored(StreamwfError):
    """{store} has no tables of streamwf, and none were made. Check its name in {setting}; whoever
    runs workflows there, as `streamwf dev` does, makes them."""


class StreamNotFound(StreamwfError):
    """{store} has no table {table}: nothing of {stream!r} has ever been there. Check the name of
    the workflow, and which database it is."""


class StoreReadOnly(StoreUnreachable):
    """{store} can only be read: {cause}. Let it be written, or name another in {setting}."""


class StoreFull(StoreUnreachable):
    """{store} has no room left: {cause}. Make room where it keeps its data, or name another in
    {setting}. What could not be stored is tried again."""


class StoreInUse(StoreUnreachable):
    """{store} is in use by another process, and has one at a time. Stop that one, or name another
    directory in {setting}."""


class SchemaNewer(StreamwfError):
    """{store} has tables of version {found}, and this streamwf knows those up to {known}. They were
    left as they are. Install a newer streamwf, or name another database in {setting}."""


class NoTransaction(StreamwfError):
    """The connection has no transaction that the request could be committed with. Begin one, as
    with `async with connection.transaction():`, and do not use autocommit."""


class UnknownConnection(StreamwfError):
    """The outbox can't write by a {given}. Give it a connection or a session of SQLAlchemy, or a
    connection of asyncpg or psycopg; where nothing is awaited, one that blocks."""


class OutboxNotFound(StreamwfError):
    """There is no table streamwf_outbox in the database of {setting}. Make it in a migration, as
    docs/outbox.md shows, and check that {setting} names the database that the application uses."""


class NoStore(StreamwfError):
    """No database is named that the relay could read. Give it with --store or STREAMWF_STORE, like
    postgresql://user@host/name."""


class Fenced(StreamwfError):
    """Shard {shard} of {workflow!r} has a newer owner: nothing is stored by this one any more."""


class RowsLost(StreamwfError):
    """{store} has lost rows that it had stored, of shard {shard} of {workflow!r}. They are folded
    from the log again. Let it keep what it stores, with appendonly yes and appendfsync always."""


class ReadsTooSlowly(StreamwfError):
    """More than {room} moves waited for who watches: it reads too slowly, and is told no more. Go
    on from the id of the last event that came; or watch less, by more filters."""


class TooManyWatchers(StreamwfError):
    """This worker tells its moves to {limit} already. Ask another worker, or raise `watchers`."""


class MovesLost(StreamwfError):
    """What happened at offsets {begin} to {end} of shard {shard} of {workflow!r} can't be told:
    {why}. Look at the runs themselves, and watch on from now; or give `notice=` to be told of this
    and go on."""


class RolesClosed(StreamwfError):
    """The scheduler of roles is closed and gives out none. Close it once all that holds roles has
    stopped."""


class PagePartUnknown(StreamwfError):
    """The page has no part {name!r} that can be replaced; there are: {known}. Name the file like
    the part, and keep other files elsewhere."""


class PageFileUnreadable(StreamwfError):
    """What is to replace a part of the page can't be read at {path}: {cause}."""


class InvalidSettings(StreamwfError):
    """The settings can't be used:
    {mistakes}"""


# ---- access


class NotAuthenticated(StreamwfError):
    """Nobody here knows who asks. Give a token that counts: --token-file or STREAMWF_TOKEN of the
    command line, `Client.over_http(url, token=...)`, the header `Authorization: Bearer TOKEN`."""


class RoleMissing(StreamwfError):
    """This takes the role {needed} of {workflow}; {name!r} has {has}. Ask whoever runs the workers
    for it."""


class CrossSite(StreamwfError):
    """The request comes from a page of another site: {origin}. Such pages change nothing here."""


class HostRefused(StreamwfError):
    """Requests for {host!r} are not answered here. Ask for 127.0.0.1 or localhost, or name it in
    web_allowed_hosts."""


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


class CorrelationInvalid(StreamwfError):
    """Callback {name!r} can't be known by {value!r}: with its name, a correlation value has 1 to
    500 characters and no control characters. Let correlate= return such a text, or None."""


class StepTimedOut(StreamwfError):
    """The {where} ran longer than its timeout of {seconds} s."""
