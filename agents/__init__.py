"""The Faust host: workers that share the partitions of the workflows."""

from .app import WorkflowApp, faust_app
from .worker import run_worker, serve_worker

__all__ = ["WorkflowApp", "faust_app", "run_worker", "serve_worker"]
