"""What is to happen in a simulation, as a value: made of the seed first, and done after that, so
that parts of it can be left out."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from tests.simulation.flows import HOOKS, Spec, a_spec

__all__ = ["HOOKS", "Entry", "Plan", "Setup", "a_plan"]

#: What clients do. `trigger` most of all.
ACTS = ("trigger",) * 8 + ("callback",) * 4 + ("pause", "resume", "cancel", "retry", "delete")

#: What is made to fail.
FAULTS = (
    *("crash", "crash", "crash", "freeze", "freeze", "leave", "rebalance", "rebalance"),
    *("away", "cut", "mute", "lose", "lose", "unanswered", "unanswered", "slow", "slow_steps"),
    *("rewind", "gap", "clock", "poison", "poison", "echo", "echo", "compact", "disk", "join"),
)

#: In how many of the simulations results are to be in the log once.
EXACTLY_ONCE = 0.25

#: The share of the plans whose workers hold hardly anything of what is due.
CRAMMED = 0.3

#: What nobody can make anything of.
POISONS = ("no_json", "no_event", "other_source", "empty", "type", "result", "binary", "misplaced")


@dataclass(frozen=True)
class Entry:
    """Something that happens. at: seconds from the beginning."""

    at: float
    what: str
    given: tuple[tuple[str, Any], ...]

    def __getitem__(self, name: str) -> Any:
        return dict(self.given)[name]

    def __str__(self) -> str:
        told = " ".join(f"{name}={value}" for name, value in self.given)
        return f"{self.at:7.3f} s  {self.what} {told}"


@dataclass(frozen=True)
class Setup:
    """How the workers run. Times are in seconds.

    skews: by how much each worker's clock is ahead. patience: after which a client gives up.
    rocksdb: whether the tables are real ones. exactly_once: whether results are to be in the log
    once. crammed: whether shards hold hardly anything of what is due, and leave the rest to their
    tables.
    """

    workers: int
    partitions: int
    standbys: int
    checkpoint: float
    session: float
    patience: float
    room: int
    bite: int
    skews: tuple[float, ...]
    rocksdb: bool
    exactly_once: bool
    crammed: bool


@dataclass(frozen=True)
class Plan:
    """until: when it is over with faults and clients, in seconds from the beginning."""

    seed: int
    setup: Setup
    spec: Spec
    entries: tuple[Entry, ...]
    until: float

    def only(self, kept: Collection[int]) -> "Plan":
        """The same with some of its entries alone."""
        entries = tuple(each for n, each in enumerate(self.entries) if n in kept)
        return replace(self, entries=entries)


def a_plan(seed: int) -> Plan:
    chance = Random(f"plan {seed}")
    # By a chance of its own: what a seed's plan was before there was this, it still is.
    exactly_once = Random(f"guarantee {seed}").random() < EXACTLY_ONCE
    crammed = Random(f"crammed {seed}").random() < CRAMMED
    setup = _a_setup(chance, exactly_once, crammed)
    length = chance.choice((4.0, 8.0, 15.0))
    names = [f"run-{n}" for n in range(chance.choice((1, 3, 8)))]
    acts = [_an_act(chance, n, names, length) for n in range(chance.choice((6, 20, 45)))]
    busy = [act.at for act in acts]
    faults = [_a_fault(chance, setup, length, busy) for _ in range(chance.choice((0, 2, 5, 12)))]
    if setup.exactly_once:
        # What others append twice is there twice.
        faults = [fault for fault in faults if fault.what != "echo"]
    entries = tuple(sorted([*acts, *faults], key=lambda entry: (entry.at, entry.what)))
    return Plan(seed, setup, a_spec(chance), entries, length)


def _a_setup(chance: Random, exactly_once: bool, crammed: bool) -> Setup:
    workers = chance.choice((1, 2, 2, 3, 3))
    skewed = chance.random() < 0.4
    return Setup(
        workers=workers,
        partitions=chance.choice((1, 2, 3)),
        standbys=chance.choice((0, 1)) if workers > 1 else 0,
        checkpoint=chance.choice((0.1, 0.25, 1.0)),
        session=chance.choice((1.5, 3.0)),
        patience=chance.choice((1.0, 3.0)),
        room=chance.choice((1, 3, 1_000)),
        bite=chance.choice((1, 5, 2_000)),
        skews=tuple(
            round(chance.uniform(-0.5, 0.5), 3) if skewed else 0.0 for _ in range(workers + 1)
        ),
        rocksdb=chance.random() < 0.03,
        exactly_once=exactly_once,
        crammed=crammed,
    )


def _an_act(chance: Random, n: int, names: list[str], length: float) -> Entry:
    what, name = chance.choice(ACTS), chance.choice(names)
    given: dict[str, Any] = {"n": n, "foreign_id": name}
    given["via"] = chance.choice(("log", "log", "worker"))
    if what == "callback":
        given["name"] = f"told{chance.randint(0, 1)}"
        given["wait"] = chance.choice((0, 0, 2))
    if what == "trigger":
        given["start_in"] = chance.choice((0, 0, 0, 0, 1.5))
    if what in ("trigger", "callback"):
        given["key"] = chance.choice((None, None, chance.randint(0, 3)))
    if given["via"] == "log":
        given["again"] = chance.choice((0, 0, 0, 1, 2))
        given["astray"] = chance.random() < 0.15
    return Entry(round(chance.uniform(0.5, length), 3), what, tuple(given.items()))


def _a_fault(chance: Random, setup: Setup, length: float, busy: list[float]) -> Entry:
    """busy: when there is something to do."""
    what = chance.choice(FAULTS)
    seconds = round(chance.choice((0.1, 0.6, 2.0, 5.0)) * chance.uniform(0.5, 1.5), 3)
    given: dict[str, Any] = {}
    if what not in ("away", "rebalance", "slow", "slow_steps", "poison", "echo", "compact"):
        given["worker"] = chance.randint(1, setup.workers)
    if what in ("crash", "freeze", "leave", "away", "cut", "mute", "slow", "slow_steps"):
        given["seconds"] = seconds
    if what == "crash":
        given["after"] = chance.choice((0, chance.randint(0, 15), chance.randint(0, 80)))
        given["disk"] = chance.choice(("kept", "kept", "wiped", "rolled_back"))
    elif what in ("lose", "unanswered"):
        given["kind"] = chance.choice(("append", "append", "write", "commit"))
        given["count"] = chance.randint(1, 3)
    elif what in ("rewind", "gap"):
        given["records"] = chance.randint(1, 6)
    elif what == "clock":
        given["by"] = round(chance.uniform(-2.0, 2.0), 3)
    elif what == "poison":
        given["kind"] = chance.choice(POISONS)
        given["partition"] = chance.randrange(setup.partitions)
    elif what in ("echo", "compact"):
        given["partition"] = chance.randrange(setup.partitions)
        if what == "echo":
            given["back"] = chance.randint(1, 12)
    elif what == "disk":
        given["writes"] = chance.randint(1, 2)
    at = chance.uniform(0.5, length)
    if chance.random() < 0.7:
        at = min(chance.choice(busy) + chance.choice((0.01, 0.1, 1.0)) * chance.random(), length)
    return Entry(round(at, 3), what, tuple(given.items()))
