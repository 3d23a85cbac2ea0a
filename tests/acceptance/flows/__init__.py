"""The workflows of the acceptance suite, each named after the row that it is for."""

from streamwf import Workflow

from .callbacks import callbacks
from .children import offspring, parents
from .connected import connected
from .crowd import crowd
from .hooks import hooks
from .orders import orders
from .outcomes import dead_ends, outcomes
from .pacing import paced
from .payments import payments
from .reports import reports
from .states import lasting, passing, sealed, states
from .steps import steps
from .timeouts import timeouts
from .typed import of_dataclasses, of_dicts, of_models, of_typed_dicts

WORKFLOWS: tuple[Workflow, ...] = (
    of_models,
    of_dataclasses,
    of_typed_dicts,
    of_dicts,
    steps,
    callbacks,
    timeouts,
    hooks,
    outcomes,
    dead_ends,
    paced,
    states,
    passing,
    lasting,
    sealed,
    orders,
    parents,
    offspring,
    connected,
    reports,
    crowd,
    payments,
)
