"""Processes of `streamwf dev` on a database."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.stored.crowd import Crowd

Crowds = Callable[[str], Crowd]


@pytest.fixture
def crowd_on(tmp_path: Path) -> Iterator[Crowds]:
    made: list[Crowd] = []

    def make(url: str) -> Crowd:
        made.append(Crowd(url, tmp_path))
        return made[-1]

    yield make
    for crowd in made:
        crowd.close()
