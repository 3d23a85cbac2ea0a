"""streamwf: an event-sourced workflow engine on Kafka."""

from .client import Client, RunInfo
from .definition import Run, Workflow
from .embedded import embedded
from .errors import Fatal, StreamwfError
from .outcome import Cancel, Pause, Repeat, Skip
from .record import State
from .retry import Retry
from .settings import Settings

__all__ = [
    "Cancel",
    "Client",
    "Fatal",
    "Pause",
    "Repeat",
    "Retry",
    "Run",
    "RunInfo",
    "Settings",
    "Skip",
    "State",
    "StreamwfError",
    "Workflow",
    "embedded",
]
