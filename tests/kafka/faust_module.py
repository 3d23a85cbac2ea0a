"""For those who run Faust already: `faust -A faust_module worker`, with an agent of their own."""

import os
from collections.abc import AsyncIterator

import flows

from streamwf.agents import faust_app

app = faust_app(flows.orders)

numbers = app.topic(
    f"{app.settings.topic_prefix}numbers",
    partitions=app.settings.partitions,
    key_serializer="raw",
    value_serializer="raw",
)


@app.agent(numbers)
async def note(stream: AsyncIterator[bytes]) -> None:
    """An agent that has nothing to do with workflows."""
    async for number in stream:
        with open(os.environ["NUMBERS"], "ab") as file:
            file.write(number + b"\n")
