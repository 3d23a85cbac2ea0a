"""A worker process of these tests. Everything is said in the environment.

FOLD_RECORD: a file that gets a line for each event whose fold a checkpoint has made durable.
WITHOUT_FENCE: leave out what keeps a former owner of a shard from writing to its changelog.
FLOWS: the module of the workflow, `flows` unless said.
SPANS: a file that gets a line for each span that has ended.
HELD_UP: fold nothing, as if there were too much to do.
OWN_LOGGER: log by a logger that is no structlog's.
"""

import asyncio
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from streamwf.adapters.kafka import changelog
from streamwf.agents import host, ownership, run_worker
from streamwf.errors import StreamwfError
from streamwf.ports import Checkpoint, LogRecord
from streamwf.settings import load
from streamwf.shard import Shard


class RecordingShard(Shard):
    """Notes what it has folded, once it is durable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._folded: list[int] = []

    def fold(self, records: Sequence[LogRecord]) -> None:
        self._folded += [r.offset for r in records if r.offset >= self.position]
        super().fold(records)

    def committed(self, checkpoint: Checkpoint) -> None:
        super().committed(checkpoint)
        durable = [offset for offset in self._folded if offset < checkpoint.position]
        self._folded = [offset for offset in self._folded if offset >= checkpoint.position]
        lines = "".join(f"{self.partition} {offset}\n" for offset in durable)
        file = os.open(os.environ["FOLD_RECORD"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(file, lines.encode())
        os.close(file)


class OpenTransactions:
    """A producer that takes part in no transaction, and so can't be fenced."""

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    async def begin_transaction(self) -> None: ...

    async def commit_transaction(self) -> None: ...


def without_fence() -> None:
    fenced = changelog.producer
    changelog.producer = lambda settings, _: OpenTransactions(fenced(settings))


class FileExporter(SpanExporter):
    """Writes spans to a file, in whole lines, so that several processes may."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        os.write(self._file, "".join(f"{span.to_json(indent=None)}\n" for span in spans).encode())
        return SpanExportResult.SUCCESS


def collect_spans(path: str) -> None:
    worker = os.path.basename(os.environ["STREAMWF_DATA_DIR"])
    provider = TracerProvider(resource=Resource.create({"service.name": worker}))
    provider.add_span_processor(SimpleSpanProcessor(FileExporter(path)))
    trace.set_tracer_provider(provider)


async def held_up(*given: Any) -> None:
    await asyncio.Event().wait()


class Printing:
    """Implements `streamwf.ports.Logger`."""

    def debug(self, event: str, /, **fields: Any) -> None: ...

    def info(self, event: str, /, **fields: Any) -> None:
        print("own", event, sorted(fields), flush=True)

    warning = error = info


def main() -> None:
    if "SPANS" in os.environ:
        collect_spans(os.environ["SPANS"])
    if "FOLD_RECORD" in os.environ:
        ownership.Shard = RecordingShard  # type: ignore[misc]
    if "HELD_UP" in os.environ:
        host.KafkaHost.fold = held_up  # type: ignore[method-assign]
    if "WITHOUT_FENCE" in os.environ:
        without_fence()
    flows = importlib.import_module(os.environ.get("FLOWS", "flows"))
    try:
        run_worker([flows.orders], load(), Printing() if "OWN_LOGGER" in os.environ else None)
    except StreamwfError as error:
        sys.exit(str(error))


main()
