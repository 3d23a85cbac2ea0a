"""The orders of a shop on Kafka, with two workers of which one is killed half way.

`make demo-kafka`, or `python -m examples.demo_kafka`. The broker is the one in KAFKA_BROKERS, or
one that is started for this.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

from examples.orders import orders
from examples.story import Story, exit_code_of, read_orders
from streamwf import Client
from streamwf.adapters.local_kafka import find_broker
from streamwf.errors import StreamwfError

STREAMWF = (sys.executable, "-m", "streamwf.cli")
TARGET = str(Path(__file__).with_name("orders.py"))

#: Seconds that a worker may take until it serves its web views.
PATIENCE = 30.0


class ProcessFailed(StreamwfError):
    """{what} has failed. The last lines of its log:
    {lines}"""


class Worker:
    """A `streamwf worker` in a process of its own."""

    def __init__(self, name: str, folder: Path, flags: tuple[str, ...]) -> None:
        self.name = name
        self.url = ""
        self._log = folder / f"{name}.log"
        self._flags = (*flags, "--data-dir", str(folder / name), "--web-port", "0")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return once it serves its web views."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *STREAMWF, "worker", TARGET, *self._flags, stdout=log, stderr=log
            )
        deadline = monotonic() + PATIENCE
        while not self._listens():
            if self._process.returncode is not None or monotonic() > deadline:
                raise ProcessFailed(what=self.name, lines="\n".join(self._lines()[-20:]))
            await asyncio.sleep(0.05)

    def _listens(self) -> bool:
        for line in self._lines():
            if '"worker_listens"' in line:
                self.url = json.loads(line)["url"]
                return True
        return False

    def _lines(self) -> list[str]:
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines()

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


async def demonstrate(brokers: str) -> bool:
    """Returns whether all went as it has to."""
    place = ("--brokers", brokers, "--topic-prefix", f"demo-{int(time())}.", "--partitions", "4")
    async with two_workers(place) as (first, second), Client.over_http(first.url) as client:
        story = Story(client, read_orders())
        say = story.console.print
        say(f"Two workers share the partitions on {brokers}: {first.url} and {second.url}.")
        say(f"{len(story.placed)} orders come in.")
        await asyncio.gather(
            story.place_all(), story.watch(until=story.settled), crash(second, story)
        )
        say("Every order has ended, or waits for a person:")
        await story.resume_paused()
        await story.watch(until=story.ended)
        right = await story.tell_results()
        verified = await verify(place)
        rows, differences = verified["rows"], verified["differences"]
        say(
            "streamwf verify: the log, folded aside, has"
            f" {rows} runs, of which {len(differences)} differ from the workers' tables."
        )
        return right and rows == len(story.placed) and not differences


@asynccontextmanager
async def two_workers(place: tuple[str, ...]) -> AsyncIterator[tuple[Worker, Worker]]:
    flags = (*place, "--session-timeout", "3s")
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="streamwf-demo-")))
        first, second = (Worker(name, folder, flags) for name in ("worker-1", "worker-2"))
        for worker in (first, second):
            stack.push_async_callback(worker.stop)
            await worker.start()
        yield first, second


async def crash(worker: Worker, story: Story) -> None:
    """Kill a worker when half of the orders have ended, and start it again."""
    while not story.half(await story.client.describe(orders.name)):
        await asyncio.sleep(0.05)
    story.console.print(f"Half of them have ended. {worker.name} is killed: kill -9")
    await worker.kill()
    await worker.start()
    story.console.print(f"{worker.name} is started again: {worker.url}")


async def verify(place: tuple[str, ...]) -> dict[str, Any]:
    """What `streamwf verify` finds."""
    command = (*STREAMWF, "verify", TARGET, "--json", *place)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    if not output:
        raise ProcessFailed(what="streamwf verify", lines="those above")
    found: dict[str, Any] = json.loads(output)
    return found


def on_a_broker() -> bool:
    with find_broker(say=print) as broker:
        return asyncio.run(demonstrate(broker.bootstrap))


if __name__ == "__main__":
    sys.exit(exit_code_of(on_a_broker))
