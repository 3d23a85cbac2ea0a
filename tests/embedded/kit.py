"""Workflows on an engine whose clock the test steps, and records that anyone may write."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streamwf import Workflow
from streamwf.testing import Engine, engine


@asynccontextmanager
async def started(*workflows: Workflow[Any, Any], **options: Any) -> AsyncIterator[Engine]:
    """An engine whose logs, folded anew, give the same rows in the end."""
    async with engine(*workflows, **options) as app:
        yield app
        await app.settle()
        for workflow in workflows:
            assert app.host.verify(workflow.name) == []


def append(app: Engine, workflow: Workflow[Any, Any], **event: Any) -> None:
    """Write a record into the log past all checks, as anyone may who can reach the topic."""
    stamp = int(app.clock.now().timestamp() * 1_000)
    app.host.logs[workflow.name].append(None, json.dumps(event).encode(), stamp)


def records(app: Engine, workflow: Workflow[Any, Any]) -> int:
    """How many records the log has."""
    return len(app.host.logs[workflow.name].records)


def dead_letters(app: Engine, workflow: Workflow[Any, Any]) -> list[str]:
    """The reasons of what was set aside."""
    return [reason for _, reason in app.host.logs[workflow.name].dead_letters]


async def types(app: Engine, run_id: str) -> list[str]:
    """The types of the events that have changed a run."""
    return [event.type for event in (await app.client.history(run_id)).events]
