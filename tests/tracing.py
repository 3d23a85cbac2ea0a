"""Spans as tests look at them: collected in this process, or read from the files of others."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

#: A span as the SDK writes it in JSON.
Json = dict[str, Any]


class Spans:
    """Those that have ended."""

    def __init__(self, read: Callable[[], Iterable[Json]]) -> None:
        self._read = read

    def all(self) -> list[Json]:
        """In the order in which they began."""
        return sorted(self._read(), key=lambda span: span["start_time"])

    def named(self, name: str) -> list[Json]:
        return [span for span in self.all() if span["name"] == name]

    def one(self, name: str) -> Json:
        [found] = self.named(name)
        return found

    def shown(self, *, without: str = "(nothing)", note: Callable[[Json], str] = str) -> str:
        """The traces as text, each with what its spans are linked to, by name.

        without: what the names of spans begin with that are left out. note: is put after a span.
        """
        spans = [span for span in self.all() if not span["name"].startswith(without)]
        by_id = {span["context"]["span_id"]: span for span in spans}
        lines: list[str] = []

        def show(span: Json, depth: int) -> None:
            linked = [by_id.get(link["context"]["span_id"]) for link in span["links"]]
            links = ", ".join(told(each) if each else "(elsewhere)" for each in linked)
            lines.append("  " * depth + note(span) + (f" <- {links}" if links else ""))
            for child in spans:
                if child["parent_id"] == span["context"]["span_id"]:
                    show(child, depth + 1)

        for root in spans:
            if root["parent_id"] not in by_id:
                show(root, 0)
        return "".join(f"{line}\n" for line in lines)


def told(span: Json) -> str:
    """Its name, which attempt it was, what became of it, and the error."""
    attributes = span["attributes"]
    attempt = attributes.get("streamwf.attempt", 1)
    said = [span["name"], f"#{attempt}" if attempt > 1 else "", outcome(span)]
    return " ".join(part for part in said if part)


def outcome(span: Json) -> str:
    attributes = span["attributes"]
    to = attributes.get("streamwf.to", "")
    became = attributes.get("streamwf.outcome", "")
    error = attributes.get("error.type")
    told = " ".join(part for part in (became, to) if part)
    return f"({told}{f': {error}' if error else ''})" if told or error else ""


@contextmanager
def collecting() -> Iterator[Spans]:
    """The process collects spans, as if it had the SDK set up; afterwards it has not."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield Spans(lambda: [json.loads(span.to_json()) for span in exporter.get_finished_spans()])
    finally:
        provider.shutdown()
        # The API lets nobody set it twice, but each test begins as a process does.
        trace._TRACER_PROVIDER = None
        trace._TRACER_PROVIDER_SET_ONCE = Once()
