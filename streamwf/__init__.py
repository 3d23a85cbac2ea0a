"""streamwf: an event-sourced workflow engine on Kafka."""

from .blocking import SyncClient
from .client import Client
from .definition import Run, Workflow
from .embedded import embedded
from .errors import Fatal, StreamwfError
from .masking import Masked
from .outbox import Outbox
from .outcome import Cancel, Pause, Repeat, Skip
from .pacing import Breaker, Rate
from .record import State
from .retry import Retry
from .run_info import RunInfo
from .settings import Settings
from .watch_client import RunMove

__all__ = [
    "Breaker",
    "Cancel",
    "Client",
    "Fatal",
    "Masked",
    "Outbox",
    "Pause",
    "Rate",
    "Repeat",
    "Retry",
    "Run",
    "RunInfo",
    "RunMove",
    "Settings",
    "Skip",
    "State",
    "StreamwfError",
    "SyncClient",
    "Workflow",
    "embedded",
]
