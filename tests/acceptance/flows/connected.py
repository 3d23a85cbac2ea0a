"""1 connector: a file that grows, and on Kafka a topic too, lead to runs and callbacks."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from streamwf import Workflow
from streamwf.adapters.kafka import KafkaTopic
from streamwf.sources import Call, Message, Start, from_iterator
from tests.acceptance.flows.carried import DONE, NEW, WAITING, Status, Thing, ThingRun

#: Where the file is, and what the topic is called.
FEED, TOPIC = "ACCEPTANCE_FEED", "ACCEPTANCE_TOPIC"

#: Seconds between two looks at whether the file has grown.
PAUSE = 0.05

connected = Workflow("connected", Thing, Status, start=NEW)


@connected.step(NEW, to=WAITING)
async def receive(run: ThingRun) -> Status:
    run.object.trail.append("received")
    return WAITING


@connected.callback(WAITING, to=DONE, payload=str)
async def pay(run: ThingRun, how: str) -> Status:
    run.object.trail.append(how)
    return DONE


async def lines(position: str | None) -> AsyncIterator[tuple[str, str]]:
    """The lines of a file, each at its number, as they come."""
    number = 0 if position is None else int(position) + 1
    while True:
        file = Path(os.environ.get(FEED, os.devnull))
        told = file.read_text().split("\n")[number:-1] if file.exists() else []
        for line in told:
            yield str(number), line
            number += 1
        await asyncio.sleep(PAUSE)


def led(message: Message) -> Sequence[Start[Thing, Status] | Call]:
    told = message.json()
    starts = [Start(each, Thing(trail=[message.source])) for each in told.get("start", ())]
    calls = [Call("pay", "cash", foreign_id=each) for each in told.get("pay", ())]
    return [*starts, *calls]


connected.connector(from_iterator(lines, name="feed"), name="feed")(led)

if TOPIC in os.environ:
    connected.connector(KafkaTopic(os.environ[TOPIC]), name="topic")(led)
