"""The workflows of the acceptance suite, each named after the row that it is for."""

from streamwf import Workflow

from .callbacks import callbacks
from .children import offspring, parents
from .hooks import hooks
from .orders import orders
from .outcomes import dead_ends, outcomes
from .pacing import broken, paced
from .states import kept, resuming, scrubbed, sealed, states, staying
from .steps import steps
from .timeouts import overdue, timeouts
from .typed import of_dataclasses, of_dicts, of_models, of_typed_dicts

WORKFLOWS: tuple[Workflow, ...] = (
    of_models,
    of_dataclasses,
    of_typed_dicts,
    of_dicts,
    steps,
    callbacks,
    timeouts,
    overdue,
    hooks,
    outcomes,
    dead_ends,
    broken,
    paced,
    states,
    resuming,
    staying,
    kept,
    scrubbed,
    sealed,
    orders,
    parents,
    offspring,
)
