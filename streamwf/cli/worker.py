"""`streamwf worker`: run workflows on Kafka."""

from typing import Any

import click

from streamwf.adapters import loggers
from streamwf.cli import options
from streamwf.cli.targets import load_workflows
from streamwf.settings import load

FLAGS = tuple(name for name in options.FLAGS if name not in ("adapters", "lease", "log"))


@click.command()
@options.targets
@options.settings(*FLAGS)
def worker(targets: tuple[str, ...], **flags: Any) -> None:
    """Run workflows on Kafka, until SIGTERM or Ctrl-C.

    TARGET is MODULE, MODULE:WORKFLOW, FILE.py or FILE.py:WORKFLOW. Workers of the same workflows
    share their runs: start as many as you like, each with a data directory of its own.
    """
    settings = load(flags)
    loggers.configure(settings.log_level)
    workflows = load_workflows(targets)
    # Faust takes its time to import.
    from streamwf.agents import run_worker

    run_worker(workflows, settings)
