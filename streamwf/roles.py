"""Roles: what a worker does in each shard that it holds, by names that people can search for.

Named as in luno/workflow, where a role is what a scheduler hands out; here holding a partition is
holding its roles.
"""

from collections import Counter
from collections.abc import Iterator
from enum import Enum
from typing import Any

from .definition import Workflow
from .naming import PROCESSES, Process, role_name
from .shard import Shard
from .views import RoleHealth, RoleView


def roles_of(shard: Shard, shards: int) -> Iterator[RoleView]:
    """The roles that come with a shard. shards: how many the workflow has."""
    workflow = shard.workflow
    running = _running(shard)
    waiting = shard.dispatcher.depth()
    for status, process in _roles(workflow):
        name = status.name
        busy = running[name, process]
        queued = waiting.get(name, 0) if process is Process.CONSUMER else 0
        yield RoleView(
            name=role_name(workflow.name, status, process, shard.partition + 1, shards),
            workflow=workflow.name,
            shard=shard.partition,
            status=name,
            process=process,
            health=_health(shard, busy + queued),
            running=busy,
            waiting=queued,
        )


def _roles(workflow: Workflow[Any, Any]) -> Iterator[tuple[Enum, Process]]:
    for status in workflow.status_type:
        for declared, process in (
            (workflow.steps, Process.CONSUMER),
            (workflow.timeouts, Process.TIMEOUT),
            (workflow.callbacks, Process.CALLBACK),
        ):
            if status.name in declared:
                yield status, process


def _running(shard: Shard) -> Counter[tuple[str, Process]]:
    found: Counter[tuple[str, Process]] = Counter()
    for run_id, kind in shard.dispatcher.in_progress():
        record = shard.lookup(run_id) if kind in PROCESSES else None
        if record is not None and not record.kind:
            found[shard.workflow.current(record.status), PROCESSES[kind]] += 1
    return found


def _health(shard: Shard, jobs: int) -> RoleHealth:
    if not shard.live:
        return "stopped"
    return "active" if jobs else "idle"
