"""The Faust host: workers that share the partitions of the workflows."""

from .app import WorkflowApp, faust_app
from .live import each_run
from .projection import project
from .rebuild import rebuild, verify
from .relay import run_relay
from .replay import replay
from .worker import run_worker, serve_worker

__all__ = [
    "WorkflowApp",
    "each_run",
    "faust_app",
    "project",
    "rebuild",
    "replay",
    "run_relay",
    "run_worker",
    "serve_worker",
    "verify",
]
