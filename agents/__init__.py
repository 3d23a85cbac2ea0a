"""The Faust host: workers that share the partitions of the workflows."""

from .app import WorkflowApp, faust_app
from .live import each_run
from .rebuild import Difference, Rebuilt, Verified, rebuild, verify
from .worker import run_worker, serve_worker

__all__ = [
    "Difference",
    "Rebuilt",
    "Verified",
    "WorkflowApp",
    "each_run",
    "faust_app",
    "rebuild",
    "run_worker",
    "serve_worker",
    "verify",
]
