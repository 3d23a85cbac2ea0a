"""Asking as programs outside do: over HTTP, at whichever worker is there, or straight to the log.

Each request has an id of its own, the same for every try, and is tried until it was answered.
"""

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streamwf import events
from streamwf.adapters.kafka.append import LazyProducer
from streamwf.adapters.problems import error_of
from streamwf.errors import BrokerUnreachable
from streamwf.events import derived_id, keyed_id
from streamwf.settings import Settings
from tests.chaos.flows import orders
from tests.proof.story import Asked

#: Seconds that one try may take, and until a request is given up; and between two tries.
TRY = 12.0
PATIENCE = 90.0
PAUSE = 0.5

#: How long it may take to look at something.
SHORTLY = aiohttp.ClientTimeout(total=6.0)

#: What is called otherwise in the path of a URL.
ACTIONS = {events.DELETE: "delete-data"}


@dataclass(frozen=True, slots=True)
class Request:
    """type: as in `Asked`. key: makes its repeats harmless. data: an object, or a payload."""

    type: str
    foreign_id: str
    run_id: str
    key: str
    data: Any = None

    @property
    def id(self) -> str:
        """The event's. A trigger over HTTP has one that only its worker knows."""
        if self.type == events.TRIGGER:
            return self.run_id
        if self.type == events.CALLBACK:
            return keyed_id(self.type, orders.name, self.foreign_id, "pay", self.key)
        return derived_id(self.run_id, ACTIONS.get(self.type, self.type), self.key)

    def over_http(self) -> tuple[str, dict[str, Any]]:
        """The path, and the body."""
        if self.type == events.TRIGGER:
            body = {"foreign_id": self.foreign_id, "object": self.data, "key": self.key}
            return f"workflows/{orders.name}/runs?wait=false", body
        if self.type == events.CALLBACK:
            body = {"name": "pay", "foreign_id": self.foreign_id, "payload": self.data}
            body |= {"key": self.key, "wait_for": 5.0}
            return f"workflows/{orders.name}/callbacks", body
        return f"runs/{self.run_id}/{ACTIONS.get(self.type, self.type)}", {"key": self.key}

    def for_the_log(self) -> bytes:
        """As any program would write it."""
        told = {"type": self.type, "id": self.id, "subject": self.foreign_id}
        if self.type == events.CALLBACK:
            told |= {"call": "pay", "data": self.data}
        else:
            told |= {"runid": self.run_id, "data": self.data}
        return json.dumps(
            {name: value for name, value in told.items() if value is not None}
        ).encode()


def trigger(foreign_id: str, key: str, carried: dict[str, Any]) -> Request:
    run_id = derived_id(orders.name, foreign_id, key)
    return Request(events.TRIGGER, foreign_id, run_id, key, carried)


class Refused(Exception):
    """The answer is no. Its text is the name of the error."""


class Asking:
    """Asks, and remembers what was asked and answered.

    urls: those of the workers that are there now. topic: of the workflow's events.
    """

    def __init__(
        self, urls: Callable[[], list[str]], topic: str, settings: Settings, chance: random.Random
    ) -> None:
        self.asked: list[Asked] = []
        self._urls = urls
        self._topic = topic
        self._chance = chance
        self._producer = LazyProducer(settings)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY))
        self._closing = False

    async def close(self) -> None:
        await self._session.close()
        await self._producer.stop()

    def stop(self) -> None:
        """Try nothing again."""
        self._closing = True

    async def ask(self, request: Request, *, straight: bool) -> Asked:
        """straight: to the log, and not over HTTP."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        known = straight or request.type != events.TRIGGER
        asked = Asked(
            type=request.type,
            id=request.id if known else "",
            foreign_id=request.foreign_id,
            at=datetime.now(UTC),
            run_id=request.run_id,
        )
        while True:
            try:
                await (self._append(request) if straight else self._post(request))
                asked = replace(asked, accepted=True)
                break
            except Refused as error:
                asked = replace(asked, answer=str(error))
                break
            except (OSError, TimeoutError, KafkaError, BrokerUnreachable, aiohttp.ClientError):
                # No answer: it may or may not have come to be.
                pass
            if self._closing or loop.time() > deadline:
                break
            await asyncio.sleep(PAUSE)
        self.asked.append(asked)
        return asked

    async def _append(self, request: Request) -> None:
        async with asyncio.timeout(TRY), self._producer.working() as to:
            await self._send(to, request)

    async def _send(self, to: AIOKafkaProducer, request: Request) -> None:
        key = request.foreign_id.encode()
        await to.send_and_wait(self._topic, request.for_the_log(), key=key)

    async def _post(self, request: Request) -> None:
        path, body = request.over_http()
        async with self._session.post(f"{self._one()}/api/v1/{path}", json=body) as answer:
            if answer.status >= 500:
                raise aiohttp.ClientError(str(answer.status))
            if answer.status >= 300:
                told = await answer.json(content_type=None)
                raise Refused(type(error_of(told)).__name__)

    def _one(self) -> str:
        urls = self._urls()
        if not urls:
            raise aiohttp.ClientError("no worker is there")
        return self._chance.choice(urls)

    async def get(self, path: str) -> dict[str, Any] | None:
        """What a worker tells, if one is there that knows all of it."""
        with suppress(OSError, TimeoutError, aiohttp.ClientError):
            url = f"{self._one()}/api/v1/{path}"
            async with self._session.get(url, timeout=SHORTLY) as answer:
                told: dict[str, Any] = await answer.json(content_type=None)
                if answer.status == 200 and not told.get("missing"):
                    return told
        return None

    async def is_ready(self, url: str) -> bool:
        """Whether a worker answers, and has all that is its own."""
        with suppress(OSError, TimeoutError, aiohttp.ClientError):
            async with self._session.get(f"{url}/readyz", timeout=SHORTLY) as answer:
                return answer.status == 200
        return False
