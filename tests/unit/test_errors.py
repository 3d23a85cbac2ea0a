"""Errors: the docstring is the message, and they travel between processes."""

import copy
import inspect
import pickle
import re
import string

import pytest

from streamwf import errors
from streamwf.errors import (
    Fatal,
    InvalidQuery,
    RequestRefused,
    RunInProgress,
    StreamwfError,
    TransitionRefused,
)

ALL = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, StreamwfError)
]


def made(kind: type[StreamwfError]) -> StreamwfError:
    template = inspect.cleandoc(kind.__doc__ or "")
    parts = [*string.Formatter().parse(template)]
    fields: dict[str, object] = {name: f"<{name}>" for _, name, _, _ in parts if name}
    # What has a noun behind it is a number.
    fields |= {name: 2 for _, name, noun, _ in parts if name and noun}
    return kind(**fields)


@pytest.mark.parametrize("kind", ALL)
def test_each_has_its_own_sentence(kind: type[StreamwfError]) -> None:
    assert "__doc__" in vars(kind), "a class without a docstring says what its base says"
    error = made(kind)
    message = str(error)
    assert message
    assert not re.search(r"\{\w", message), "a field that was not filled in"
    for name, value in error.fields.items():
        assert getattr(error, name) == value
        if isinstance(value, str):
            assert value in message


def test_no_two_have_the_same_sentence() -> None:
    docs = [kind.__doc__ for kind in ALL]
    assert len(set(docs)) == len(docs)


@pytest.mark.parametrize("kind", ALL)
def test_each_survives_a_journey(kind: type[StreamwfError]) -> None:
    error = made(kind)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.fields == error.fields


def test_braces_in_a_field_are_only_text() -> None:
    assert "{x}" in str(RunInProgress(foreign_id="{x}", run_id="{y!r}"))


def test_unknown_attributes_are_missing_as_ever() -> None:
    error = TransitionRefused(action="pause", run_id="r", state="PAUSED")
    assert not hasattr(error, "nothing")
    with pytest.raises(AttributeError):
        _ = error.nothing


def test_a_refusal_can_be_caught_as_one() -> None:
    assert isinstance(RunInProgress(foreign_id="a", run_id="b"), RequestRefused)


def test_a_field_that_is_wrong_is_told_like_several() -> None:
    error = InvalidQuery(field="limit", why="it is too large")
    assert error.errors == [{"field": "limit", "message": "it is too large"}]


def test_fatal_is_the_users_own() -> None:
    assert not issubclass(Fatal, StreamwfError)
    assert str(Fatal("no such card")) == "no such card"
