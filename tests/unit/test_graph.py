"""The graph of statuses, and its diagram."""

from collections import Counter

import pytest

from streamwf.graph import Direction, Graph, counts, label

STATUSES = ("CREATED", "AWAITING_EMAIL", "DONE", "FAILED", "UNUSED")


def orders() -> Graph:
    graph = Graph(STATUSES)
    graph.add("CREATED", ["AWAITING_EMAIL"])
    graph.add("AWAITING_EMAIL", ["DONE", "FAILED"])
    graph.add("AWAITING_EMAIL", ["FAILED", "AWAITING_EMAIL"])
    return graph


def test_moves_are_kept_once_and_in_order() -> None:
    assert orders().destinations("AWAITING_EMAIL") == ["DONE", "FAILED", "AWAITING_EMAIL"]
    assert orders().destinations("UNUSED") == []


def test_starts_lead_somewhere_and_nothing_else_leads_to_them() -> None:
    assert orders().starts == ["CREATED"]
    alone = Graph(("A", "B"))
    alone.add("A", ["A", "B"])
    assert alone.starts == ["A"]
    ring = Graph(("A", "B"))
    ring.add("A", ["B"])
    ring.add("B", ["A"])
    assert ring.starts == []


def test_terminal_and_reachable() -> None:
    graph = orders()
    assert [status for status in STATUSES if graph.terminal(status)] == [
        "DONE",
        "FAILED",
        "UNUSED",
    ]
    assert graph.reachable("CREATED") == {"CREATED", "AWAITING_EMAIL", "DONE", "FAILED"}
    assert graph.reachable("DONE") == {"DONE"}


def test_mermaid() -> None:
    assert (
        orders().mermaid("CREATED", "LR")
        == """\
stateDiagram-v2
    direction LR
    state "Created" as s0
    state "Awaiting email" as s1
    state "Done" as s2
    state "Failed" as s3
    [*] --> s0
    s0 --> s1
    state s1_choice <<choice>>
    s1 --> s1_choice
    s1_choice --> s2
    s1_choice --> s3
    s1_choice --> s1
    s2 --> [*]
    s3 --> [*]
"""
    )


@pytest.mark.parametrize("direction", ["TB", "LR", "RL", "BT"])
def test_mermaid_goes_in_any_direction(direction: Direction) -> None:
    assert f"\n    direction {direction}\n" in orders().mermaid("CREATED", direction)


def test_mermaid_shows_only_what_can_be_reached_and_each_state_once() -> None:
    text = orders().mermaid("AWAITING_EMAIL")
    assert "Created" not in text
    assert "Unused" not in text
    declared = Counter(line.split(" as ")[1] for line in text.splitlines() if " as " in line)
    assert set(declared.values()) == {1}


@pytest.mark.parametrize(
    ("status", "read"),
    [("AWAITING_EMAIL", "Awaiting email"), ("Done", "Done"), ("_", "_"), ("A1", "A1")],
)
def test_labels_are_for_people(status: str, read: str) -> None:
    assert label(status) == read


def test_counts_leave_out_what_is_not_there() -> None:
    pairs = {("B", "RUNNING"): 2, ("A", "PAUSED"): 1, ("A", "RUNNING"): 0, ("C", "RUNNING"): 0}
    assert counts(pairs) == {"A": {"PAUSED": 1}, "B": {"RUNNING": 2}}
