"""`streamwf relay`: bring what was committed to the outbox to Kafka."""

from typing import Any

import click

from streamwf.adapters import loggers
from streamwf.cli import options
from streamwf.cli.targets import load_workflows
from streamwf.settings import load


@click.command()
@options.targets
@options.settings(
    *options.STORE, *options.KAFKA, "web_host", "web_port", *options.ACCESS, "log_level"
)
def relay(targets: tuple[str, ...], **flags: Any) -> None:
    """Bring the requests that were committed to the outbox to Kafka, until SIGTERM or Ctrl-C.

    TARGET is MODULE, MODULE:WORKFLOW, FILE.py or FILE.py:WORKFLOW: the workflows whose requests
    are relayed. Those of others stay in the outbox. Relays of the same database take turns.
    `streamwf worker --relay` does the same within a worker.
    """
    settings = load(flags)
    loggers.configure(settings.log_level)
    workflows = load_workflows(targets)
    # Faust takes its time to import.
    from streamwf.agents.relay import run_relay

    run_relay(workflows, settings)
