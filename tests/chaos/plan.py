"""What is done to the workers and to their broker, and when: by a seed, and nothing else."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Workers that are there from the beginning; one more comes and goes.
WORKERS = 3

#: Seconds after which a silent worker is replaced.
SESSION = 4.0

#: Seconds before the first fault, between two of them, and at the end without a new one.
BEFORE = (4.0, 8.0)
GAP = (4.0, 14.0)
QUIET = 12.0


class Kind(StrEnum):
    """What can be done."""

    KILL = "killed"
    PAUSE = "stopped past its session"
    LEAVE = "left, and came back"
    JOIN = "another joined"
    WIPE = "killed, and its tables deleted"
    CRASH = "broker killed"
    CUT = "cut off"
    BLACKOUT = "broker cut off"
    FULL = "disk full"
    CLOCK = "clock stepped"


#: How long each lasts, in seconds; and how often it comes beside the others.
LASTS = {
    Kind.KILL: (0.0, 4.0),
    Kind.PAUSE: (SESSION + 2, SESSION + 6),
    Kind.LEAVE: (0.0, 4.0),
    Kind.JOIN: (8.0, 15.0),
    Kind.WIPE: (0.0, 3.0),
    Kind.CRASH: (0.0, 6.0),
    Kind.CUT: (2.0, SESSION + 6),
    Kind.BLACKOUT: (2.0, SESSION + 4),
    Kind.FULL: (3.0, 8.0),
    Kind.CLOCK: (4.0, 15.0),
}
WEIGHTS = {
    Kind.KILL: 4,
    Kind.PAUSE: 3,
    Kind.LEAVE: 2,
    Kind.JOIN: 2,
    Kind.WIPE: 2,
    Kind.CRASH: 2,
    Kind.CUT: 3,
    Kind.BLACKOUT: 2,
    Kind.FULL: 2,
    Kind.CLOCK: 2,
}

#: The most seconds by which a clock is stepped, forwards or back.
STEP = 30.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done.

    at: in seconds from the beginning. seconds: how long it lasts.
    worker: to whom, counted from 0; of no account if it is the broker's. step: of a clock.
    """

    kind: Kind
    at: float
    seconds: float
    worker: int
    step: float = 0.0


def plan(seed: int, seconds: float, kinds: Sequence[Kind]) -> list[Fault]:
    """What is done in so many seconds: each kind once, in any order, and then more of them.

    A time that is too short for all kinds has some of them.
    """
    chance = random.Random(seed)
    first = list(kinds)
    chance.shuffle(first)
    faults = []
    at = chance.uniform(*BEFORE)
    while at <= seconds - QUIET:
        weights = [WEIGHTS[kind] for kind in kinds]
        kind = first.pop() if first else chance.choices(kinds, weights)[0]
        faults.append(
            Fault(
                kind,
                at,
                chance.uniform(*LASTS[kind]),
                WORKERS if kind is Kind.JOIN else chance.randrange(WORKERS),
                chance.uniform(-STEP, STEP) if kind is Kind.CLOCK else 0.0,
            )
        )
        at += chance.uniform(*GAP)
    return faults
