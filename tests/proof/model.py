"""A workflow's log told again, record by record: which run each is about, and what becomes of it.

Written apart from the fold and from the shard, straightforward and slow.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from streamwf import events
from streamwf.errors import RecordTooLarge, RequestRefused, UnreadableRecord
from streamwf.events import Event, decode_event
from streamwf.ports import LogRecord
from streamwf.record import MAIL, MAILBOX, SEPARATOR, row_key
from tests.proof.life import NULL, Life, Refused, Verdict
from tests.proof.mailboxes import a_mailbox, told

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


class Judged(NamedTuple):
    """A record of the log, and what it was. life: whom it is about, if there is such a run.

    event: None if it is none. delivered: the ids of callbacks that it has sent on to their run.
    """

    offset: int
    at: datetime
    verdict: Verdict
    event: Event | None = None
    life: Life | None = None
    delivered: tuple[str, ...] = ()


class Model:
    """One partition.

    lives: of every run that there ever was, inner runs among them, in their order. rows: those
    that are left, by their keys.
    """

    def __init__(self, workflow: str, partition: int, partition_of: Mapping[str, int]) -> None:
        self.workflow = workflow
        self.partition = partition
        self.lives: list[Life] = []
        self.rows: dict[str, Life] = {}
        self.judged: list[Judged] = []
        self._partition_of = partition_of

    def read(self, records: Sequence[LogRecord], limit: int = 1_000_000) -> "Model":
        """limit: the most bytes that a record may have."""
        for record in records:
            at = _BEGINNING + timedelta(milliseconds=record.timestamp)
            try:
                event = decode_event(
                    record.value,
                    workflow=self.workflow,
                    partition=self.partition,
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                    limit=limit,
                )
                judged = self._judge(event, record.offset, at)
            except (UnreadableRecord, RecordTooLarge, RequestRefused):
                judged = Judged(record.offset, at, Verdict.UNREADABLE)
            self.judged.append(judged)
        return self

    def _judge(self, event: Event, offset: int, at: datetime) -> Judged:
        home = self._partition_of.get(event.subject, self.partition)
        if event.type in events.REQUESTS and home != self.partition:
            lost = Verdict.UNREADABLE if event.forwarded else Verdict.ELSEWHERE
            return Judged(offset, at, lost, event)
        event, key = self._addressed(event)
        life = self.rows.get(key)
        try:
            life = self._apply(event, key, life)
        except Refused as refused:
            return Judged(offset, at, refused.verdict, event, life)
        life.note(event, offset, at)
        if life.gone:
            self.rows.pop(key, None)
        return Judged(offset, at, Verdict.ACCEPTED, event, life, tuple(self._deliver(event)))

    def _addressed(self, event: Event) -> tuple[Event, str]:
        """The event, and the key of the run that it is about."""
        key = row_key(event.kind, event.subject)
        latest = self.rows.get(key)
        if not event.runid:
            over = latest is None or (not latest.live and event.id not in latest.requests)
            early = event.type == events.CALLBACK and not event.kind and event.until is not None
            if over and early:
                return replace(event, kind=MAILBOX), row_key(MAILBOX, event.subject)
            return event, key
        if event.kind in MAIL or (latest is not None and latest.run_id == event.runid):
            return event, key
        earlier = f"{key}{SEPARATOR}{event.runid}"
        return event, key if event.type == events.TRIGGER and earlier not in self.rows else earlier

    def _apply(self, event: Event, key: str, life: Life | None) -> Life:
        """The run that the event has changed. Raises Refused, and UnreadableRecord."""
        if event.kind in MAIL:
            mailbox = life or a_mailbox(event)
            told(mailbox, event)
            if life is None and not mailbox.gone:
                self.lives.append(mailbox)
                self.rows[key] = mailbox
            return mailbox
        if event.type == events.TRIGGER:
            return self._start(event, key, life)
        if life is None or (event.runid and event.runid != life.run_id):
            raise Refused(Verdict.NO_SUCH_RUN)
        if event.type in events.REQUESTS:
            life.requested(event)
        else:
            life.resulted(event)
        return life

    def _start(self, event: Event, key: str, latest: Life | None) -> Life:
        own = event.instead in ("", event.subject)
        if latest is not None and latest.run_id == event.runid:
            raise Refused(Verdict.DUPLICATE)
        if own and latest is not None and latest.live:
            raise Refused(Verdict.RUN_IN_PROGRESS)
        if not own:
            raise Refused(Verdict.HANDED_ON)
        if latest is not None:
            self.rows[f"{key}{SEPARATOR}{latest.run_id}"] = latest
        life = Life(
            event.kind,
            event.subject,
            event.runid,
            event.time,
            status=event.status,
            object=NULL if event.data is UNSET else bytes(event.data),
            parent=event.parent,
            due_at=event.startat or event.time,
        )
        self.lives.append(life)
        self.rows[key] = life
        return life

    def _deliver(self, event: Event) -> Iterator[str]:
        """What was kept for a foreign id goes to its run, once there are both."""
        if (event.kind, event.type) not in (("", events.TRIGGER), (MAILBOX, events.CALLBACK)):
            return
        run, key = self.rows.get(event.subject), row_key(MAILBOX, event.subject)
        if run is not None and run.live and key in self.rows:
            mailbox = self.rows.pop(key)
            mailbox.gone = True
            yield from mailbox.calls
