"""The graph of a workflow's statuses: which may follow which. No I/O, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["TB", "LR", "RL", "BT"]


@dataclass
class Graph:
    """Statuses by name, in the order of their definition, and the moves between them."""

    statuses: tuple[str, ...]
    moves: dict[str, list[str]] = field(default_factory=dict)

    def add(self, origin: str, destinations: Iterable[str]) -> None:
        known = self.moves.setdefault(origin, [])
        known.extend(name for name in destinations if name not in known)

    def destinations(self, status: str) -> list[str]:
        return self.moves.get(status, [])

    @property
    def starts(self) -> list[str]:
        """Statuses that lead somewhere and that no other status leads to."""
        reached = {to for origin, many in self.moves.items() for to in many if to != origin}
        return [s for s in self.statuses if s in self.moves and s not in reached]

    def terminal(self, status: str) -> bool:
        """Whether nothing leads on from here."""
        return not self.moves.get(status)

    def reachable(self, start: str) -> set[str]:
        found, todo = {start}, [start]
        while todo:
            for status in self.destinations(todo.pop()):
                if status not in found:
                    found.add(status)
                    todo.append(status)
        return found

    def mermaid(self, start: str, direction: Direction = "TB") -> str:
        """A mermaid state diagram. A status with several destinations gets a choice."""
        shown = self.reachable(start)
        names = {status: f"s{n}" for n, status in enumerate(self.statuses) if status in shown}
        lines = ["stateDiagram-v2", f"    direction {direction}"]
        lines += [f'    state "{label(status)}" as {name}' for status, name in names.items()]
        lines.append(f"    [*] --> {names[start]}")
        for status, name in names.items():
            lines += _arrows(name, [names[to] for to in self.destinations(status)])
            if self.terminal(status):
                lines.append(f"    {name} --> [*]")
        return "\n".join(lines) + "\n"


def _arrows(name: str, destinations: list[str]) -> list[str]:
    if len(destinations) < 2:
        return [f"    {name} --> {to}" for to in destinations]
    choice = f"{name}_choice"
    return [
        f"    state {choice} <<choice>>",
        f"    {name} --> {choice}",
        *(f"    {choice} --> {to}" for to in destinations),
    ]


def label(status: str) -> str:
    """A status as people read it: AWAITING_EMAIL becomes Awaiting email."""
    return status.replace("_", " ").strip().capitalize() or status


def counts(pairs: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """Counts by (status, state) as a tree: status, then state."""
    tree: dict[str, dict[str, int]] = {}
    for (status, state), count in sorted(pairs.items()):
        if count:
            tree.setdefault(status, {})[state] = count
    return tree
