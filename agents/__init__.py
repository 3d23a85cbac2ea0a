"""The Faust host: workers that share the partitions of the workflows.

What needs a database (`relay`, `projection`) is imported from its own module: SQLAlchemy takes its
time, and a worker without one starts without it.
"""

from .app import WorkflowApp, faust_app
from .live import each_run
from .rebuild import rebuild, verify
from .replay import replay
from .worker import run_worker, serve_worker

__all__ = [
    "WorkflowApp",
    "each_run",
    "faust_app",
    "rebuild",
    "replay",
    "run_worker",
    "serve_worker",
    "verify",
]
