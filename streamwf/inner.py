"""Inner runs: what the engine itself does durably in a workflow's log, by kind."""

from collections.abc import Mapping
from typing import Any

from .connecting import Connecting
from .definition import Workflow
from .execute import Inner
from .firing import Firing
from .looking import Host
from .record import CONNECTOR, SCHEDULE


def inner_of(host: Host, workflow: Workflow[Any, Any]) -> Mapping[str, Inner]:
    """What does the work of the inner runs of a workflow: one step for each kind."""
    return {SCHEDULE: Firing(host, workflow), CONNECTOR: Connecting(host, workflow)}
