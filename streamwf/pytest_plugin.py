"""Fixtures for pytest, by its entry point `pytest11`. Nothing else of streamwf needs pytest."""

from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import pytest

from .definition import Workflow
from .testing import PATIENCE, Engine, SteppedClock, engine

# Before anything imports them, so that their assertions tell what they compared.
pytest.register_assert_rewrite("streamwf.testing.contracts")


class EngineFactory(Protocol):
    """`streamwf.testing.engine` on the clock of the test."""

    def __call__(
        self, *workflows: Workflow[Any, Any], patience: timedelta = PATIENCE
    ) -> AbstractAsyncContextManager[Engine]: ...


@pytest.fixture
def streamwf_clock() -> SteppedClock:
    """A clock that stands still; the one that `streamwf_engine` runs on."""
    return SteppedClock()


@pytest.fixture
def streamwf_engine(streamwf_clock: SteppedClock) -> EngineFactory:
    """Makes engines on the clock of the test: `async with streamwf_engine(workflow) as app`."""
    return partial(engine, clock=streamwf_clock)
