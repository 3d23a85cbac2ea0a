"""streamwf: an event-sourced workflow engine on Kafka."""

from typing import TYPE_CHECKING

from .on_demand import on_demand

if TYPE_CHECKING:
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

on_demand(
    __name__,
    {
        "Breaker": "streamwf.pacing",
        "Cancel": "streamwf.outcome",
        "Client": "streamwf.client",
        "Fatal": "streamwf.errors",
        "Masked": "streamwf.masking",
        "Outbox": "streamwf.outbox",
        "Pause": "streamwf.outcome",
        "Rate": "streamwf.pacing",
        "Repeat": "streamwf.outcome",
        "Retry": "streamwf.retry",
        "Run": "streamwf.definition",
        "RunInfo": "streamwf.run_info",
        "RunMove": "streamwf.watch_client",
        "Settings": "streamwf.settings",
        "Skip": "streamwf.outcome",
        "State": "streamwf.record",
        "StreamwfError": "streamwf.errors",
        "SyncClient": "streamwf.blocking",
        "Workflow": "streamwf.definition",
        "embedded": "streamwf.embedded",
    },
)
