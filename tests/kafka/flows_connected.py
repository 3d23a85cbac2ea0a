"""The workflow of `flows`, whose runs are started by the messages of a topic."""

import asyncio
import os

from flows import Order, Status, orders

from streamwf.adapters.kafka import KafkaTopic
from streamwf.sources import Message, Start

SECONDS = float(os.environ.get("CONNECT_SECONDS", "0"))

__all__ = ["orders"]


@orders.connector(KafkaTopic(os.environ["SOURCE_TOPIC"]), name="shop")
async def shop(message: Message) -> Start[Order, Status] | None:
    await asyncio.sleep(SECONDS)
    if message.value is None:
        return None
    return Start(message.json()["id"], Order(item=f"{message.partition}@{message.position}"))
