"""Tracing by the API of OpenTelemetry: its SDK collects the spans, if the process has set it up.

A span is the child of what it comes of, unless that was long ago: what was waited for is linked to,
and the span begins a trace of its own. So no trace lasts for days, or grows for ever.
"""

from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import NamedTuple, TypeVar

import msgspec
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NoOpTracerProvider,
    ProxyTracerProvider,
    Span,
    SpanKind,
    Status,
    StatusCode,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamwf.agenda import Kind
from streamwf.events import CALLBACK, STARTED, Event
from streamwf.objects import SEALED_TEXT
from streamwf.ports import Clock
from streamwf.record import CONNECTOR, MAIL, SCHEDULE, Record, Trace

KindT = TypeVar("KindT", bound=str)
Attributes = dict[str, str | int]

#: After so long a trace is not gone on with: what collects spans does not wait for days.
LONG = timedelta(minutes=1)

#: What carries traces in events and over HTTP, whatever the process carries them by elsewhere.
_W3C = TraceContextTextMapPropagator()
_TRACEPARENT = "traceparent"

_NOBODY_COLLECTS = (ProxyTracerProvider, NoOpTracerProvider)

#: The jobs that run users' functions, and what their spans are called.
_JOBS = {Kind.STEP: "step", Kind.TIMER: "timeout", Kind.CALL: "callback", Kind.HOOK: "hook"}

#: The engine's own runs.
_OWN = (SCHEDULE, CONNECTOR)


class OpenTelemetry:
    """Implements `streamwf.ports.Tracing`. clock: what events get their times from."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tracer = trace.get_tracer("streamwf")

    @property
    def recording(self) -> bool:
        """Whether anybody collects spans."""
        return type(trace.get_tracer_provider()) not in _NOBODY_COLLECTS

    # ---- what is asked from outside

    @contextmanager
    def request(
        self, workflow: str, event: Event, *, cause: str | None = None, after: Trace | None = None
    ) -> Iterator[Event]:
        if event.kind in _OWN:
            yield event
            return
        name = f"{event.type} {workflow}"
        if event.type == CALLBACK:
            # The span of the callback's function has that name.
            name = f"call {workflow}.{event.call}".rstrip(".")
        attributes = _attributes(
            workflow=workflow,
            foreign_id="" if event.kind in MAIL else event.subject,
            run_id=event.runid,
            status=event.status,
        )
        links = [] if after is None else _links([after.parent])
        parent = None if cause is None else _context(cause)
        with self._span(name, SpanKind.PRODUCER, parent, attributes, links) as span:
            yield _within(span, event)

    @contextmanager
    def message(
        self, workflow: str, connector: str, headers: Sequence[tuple[str, bytes]]
    ) -> Iterator[str]:
        came = next((value for name, value in headers if name.lower() == _TRACEPARENT), b"")
        if not came and not self.recording:
            yield ""
            return
        parent = _context(came.decode("ascii", "replace"))
        attributes = _attributes(workflow=workflow)
        name = f"connector {workflow}.{connector}"
        with self._span(name, SpanKind.CONSUMER, parent, attributes) as span:
            yield _traceparent(span)

    # ---- what is executed

    def watching(
        self,
        run_job: Callable[[Record, KindT, str], Awaitable[Event]],
        workflow: str,
        current: Callable[[str], str],
    ) -> Callable[[Record, KindT, str], Awaitable[Event]]:
        if not self.recording:
            return run_job

        async def traced(record: Record, kind: KindT, name: str) -> Event:
            if record.kind or kind not in _JOBS:
                return await run_job(record, kind, name)
            status = current(record.status)
            job = _job(record, kind, name, status)
            attributes = _attributes(
                workflow=workflow,
                foreign_id=record.foreign_id,
                run_id=record.run_id,
                status=status,
                attempt=job.attempt,
            )
            title = f"{_JOBS[Kind(kind)]} {workflow}.{job.name}"
            parent, links = self._place(job)
            with self._span(title, SpanKind.CONSUMER, parent, attributes, links) as span:
                event = await run_job(record, kind, name)
                if event.type == STARTED:
                    # Before anything of the user's has run.
                    span.update_name(f"enter {workflow}.{status}")
                _tell(span, event)
                return _within(span, event)

        return traced

    def _place(self, job: "_Job") -> tuple[Context, list[Link]]:
        """What the span of a job is the child of, and what it is linked to."""
        cause, before = job.cause, job.before
        if cause is None:
            return Context(), _links([before])
        if self._clock.now() - cause.at < LONG:
            return _context(cause.parent), _links([before])
        return Context(), _links([cause.parent, before])

    # ---- what is appended

    def append(
        self, workflow: str, topic: str, partition: int | None, traceparents: Iterable[str]
    ) -> AbstractContextManager[None]:
        if not self.recording:
            return nullcontext()
        return self._append(workflow, topic, partition, traceparents)

    @contextmanager
    def _append(
        self, workflow: str, topic: str, partition: int | None, traceparents: Iterable[str]
    ) -> Iterator[None]:
        attributes = _attributes(workflow=workflow) | {
            "messaging.system": "kafka",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
        }
        if partition is not None:
            attributes["messaging.destination.partition.id"] = str(partition)
        spans = [
            self._tracer.start_span(
                f"append {workflow}", _context(each), SpanKind.CLIENT, attributes
            )
            for each in traceparents
            if each
        ]
        try:
            yield
        except BaseException as error:
            for span in spans:
                _failed(span, type(error).__name__)
            raise
        finally:
            for span in spans:
                span.end()

    @contextmanager
    def _span(
        self,
        name: str,
        kind: SpanKind,
        parent: Context | None,
        attributes: Attributes,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """parent: None for what the caller is at.

        Of an error only the type is recorded: nobody knows what its message tells of.
        """
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind,
            attributes,
            links,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                _failed(span, type(error).__name__)
                raise


class _Job(NamedTuple):
    """A job as its span has it.

    cause: what it comes of. before: the traceparent of what the run was at before that; or empty.
    """

    name: str
    attempt: int
    cause: Trace | None
    before: str = ""


def _job(record: Record, kind: str, name: str, status: str) -> _Job:
    at = record.trace
    if kind == Kind.CALL:
        call = next(call for call in record.calls if call.id == name)
        return _Job(call.name or status, call.attempt + 1, call.trace, at.parent if at else "")
    if kind == Kind.HOOK:
        due = min((hook for hook in record.hooks if hook.on == name), key=lambda hook: hook.due_at)
        return _Job(f"on_{name}", due.attempt + 1, due.trace)
    before = at.former if at else ""
    if kind == Kind.TIMER:
        timer = next(timer for timer in record.timers if timer.name == name)
        return _Job(name, timer.attempt + 1, at, before)
    return _Job(status, record.attempt + 1, at, before)


def _attributes(**known: str | int) -> Attributes:
    return {f"streamwf.{name}": value for name, value in known.items() if value != ""}


def _tell(span: Span, event: Event) -> None:
    """What became of a job, as the log says it: without what is masked or sealed."""
    span.set_attribute("streamwf.outcome", event.type)
    if event.status:
        span.set_attribute("streamwf.to", event.status)
    if not event.errortype:
        return
    told = {"exception.type": event.errortype}
    for name, text in (("message", event.errormessage), ("stacktrace", event.errortrace)):
        if text and not text.startswith(SEALED_TEXT):
            told[f"exception.{name}"] = text
    span.add_event("exception", told)
    first_line = told.get("exception.message", "").partition("\n")[0]
    _failed(span, event.errortype, first_line)


def _failed(span: Span, kind: str, message: str = "") -> None:
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR, f"{kind}: {message}" if message else kind))


# ---- contexts


def _context(traceparent: str) -> Context:
    """That of a traceparent; an empty one if it is none."""
    return _W3C.extract({_TRACEPARENT: traceparent}, Context())


def _traceparent(span: Span) -> str:
    """Empty if there is no trace."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(_TRACEPARENT, "")


def _within(span: Span, event: Event) -> Event:
    """An event as a part of a span."""
    traceparent = _traceparent(span)
    return msgspec.structs.replace(event, traceparent=traceparent) if traceparent else event


def _links(traceparents: Iterable[str]) -> list[Link]:
    found = [trace.get_current_span(_context(each)).get_span_context() for each in traceparents]
    return [Link(each) for each in found if each.is_valid]


@contextmanager
def received(headers: Mapping[str, str]) -> Iterator[None]:
    """What is done within is in the trace of a request's headers, unless it is in one already."""
    if trace.get_current_span().get_span_context().is_valid or _TRACEPARENT not in headers:
        yield
        return
    token = context.attach(_W3C.extract(headers))
    try:
        yield
    finally:
        context.detach(token)


def sent(headers: MutableMapping[str, str]) -> None:
    """Put the trace that the caller is in into the headers of a request."""
    _W3C.inject(headers)
