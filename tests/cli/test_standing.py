"""What is said of a run that somebody looks at, and what that one is to type next."""

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from streamwf import State
from streamwf.cli import main
from streamwf.cli.standing import following, standing
from streamwf.views import ChildView, ErrorView, RunView, TimerView

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON = NOW + timedelta(minutes=45)
ERROR = ErrorView(type="ValueError", message="too heavy\nby far")


def a_run(state: State = State.RUNNING, **facts: Any) -> RunView:
    return RunView(
        workflow="parcels",
        foreign_id="p 1",
        run_id="r-1",
        status="PACKED",
        state=state,
        version=3,
        created_at=NOW,
        updated_at=NOW,
        **facts,
    )


@pytest.mark.parametrize(
    ("run", "said", "commands"),
    [
        (
            a_run(State.PAUSED, error=ERROR, attempt=3, resume_at=SOON),
            "Its step has failed 3 times in a row: ValueError: too heavy."
            " It is resumed in 45 min, at 2030-01-02 03:49:05Z.",
            ["resume", "cancel", "history"],
        ),
        (
            a_run(State.PAUSED, error=ERROR),
            "It has failed: ValueError: too heavy. It stays so until it is resumed.",
            ["resume", "cancel", "history"],
        ),
        (
            a_run(State.PAUSED, reason="look at it.", due_at=NOW),
            "look at it. It stays so until it is resumed.",
            ["resume", "cancel", "history"],
        ),
        (
            a_run(State.PAUSED),
            "Somebody has paused it. It stays so until it is resumed.",
            ["resume", "cancel", "history"],
        ),
        (
            a_run(error=ERROR, attempt=1, due_at=NOW + timedelta(seconds=90)),
            "Its step has failed once: ValueError: too heavy."
            " It is tried again in 90 s, at 2030-01-02 03:05:35Z.",
            ["retry", "cancel", "history"],
        ),
        (
            a_run(due_at=NOW, held_until=NOW + timedelta(hours=5)),
            "Its step is held for every run, as it has failed too often: another run tries it"
            " in 5 h, at 2030-01-02 08:04:05Z.",
            ["history"],
        ),
        (
            a_run(State.INITIATED, due_at=NOW + timedelta(days=3)),
            "Its step is due in 3 days, at 2030-01-05 03:04:05Z.",
            ["history"],
        ),
        (
            a_run(due_at=NOW - timedelta(seconds=7)),
            "Its step is running, or waits for its turn, since 7 s.",
            ["history"],
        ),
        (a_run(), "It waits for a callback.", ["callback", "cancel", "history"]),
        (
            a_run(timers=[TimerView(name="late", due_at=SOON), TimerView(name="x", due_at=NOW)]),
            "It waits for a callback, or its timeout x, now.",
            ["callback", "cancel", "history"],
        ),
        (
            a_run(
                children=[
                    ChildView(workflow="w", foreign_id="c", run_id=str(n), state=state)
                    for n, state in enumerate([State.COMPLETED, None, None])
                ]
            ),
            "It waits for 2 of its 3 children.",
            ["show", "cancel", "history"],
        ),
        (a_run(State.COMPLETED), "", []),
        (a_run(State.CANCELLED, error=ERROR), "", []),
        (a_run(State.DATA_DELETION_REQUESTED), "Its data is about to be deleted.", []),
    ],
)
def test_what_is_said(run: RunView, said: str, commands: list[str]) -> None:
    assert standing(run, NOW) == said
    typed = [shlex.split(each.command.removeprefix("streamwf ")) for each in following(run)]
    assert [next(word for word in words if word != "runs") for words in typed] == commands
    for words in typed:
        check_that_it_can_be_typed(words)


def check_that_it_can_be_typed(words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context("", words)
