"""What came of a simulation: which promises were not kept, and the least of it that breaks them."""

import hashlib
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.proof.judge import judge
from tests.proof.story import Broken, Story
from tests.simulation.loop import Livelock
from tests.simulation.plan import Plan, a_plan
from tests.simulation.world import World, digest

#: The most simulations that are run to find the least that breaks a promise.
TRIES = 150


@dataclass(frozen=True)
class Outcome:
    """What a simulation has come to. seconds: that it took, by the machine's clock."""

    plan: Plan
    broken: Sequence[Broken]
    seconds: float
    events: int = 0
    executed: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    digest: str = ""
    world: World | None = None
    story: Story | None = None


def ordered(module: str) -> None:
    """Begin this program again if the order of a set of names is not the same each time."""
    # Of what is thrown away with a dead process.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited")
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def outcome_of(plan: Plan) -> Outcome:
    """Run a plan, and judge what comes of it."""
    if not plan.setup.rocksdb:
        return _outcome_of(plan, None)
    with tempfile.TemporaryDirectory(prefix="streamwf-simulation-") as directory:
        return _outcome_of(plan, Path(directory))


def _outcome_of(plan: Plan, directory: Path | None) -> Outcome:
    began = time.perf_counter()
    world = World(plan, directory)
    try:
        story = world.run()
    except Livelock as error:
        broken = [Broken("nothing_runs_without_an_end", str(error))]
        return Outcome(plan, broken, time.perf_counter() - began, world=world)
    broken = judge(story)
    broken += [Broken("nothing_fails_by_itself", each) for each in world.failures]
    broken += [Broken("all_is_done_at_the_end", each) for each in world.undone]
    return Outcome(
        plan,
        broken,
        time.perf_counter() - began,
        events=sum(map(len, story.logs.values())),
        executed=len(story.executed),
        faults=Counter(story.faults),
        digest=hashlib.sha256(digest(story)).hexdigest(),
        world=world,
        story=story,
    )


def outcome_of_seed(seed: int) -> Outcome:
    return outcome_of(a_plan(seed))


def shrunk(outcome: Outcome) -> Outcome:
    """The same promise broken with as few of the plan's entries as are needed for that."""
    plan, promises = outcome.plan, {each.promise for each in outcome.broken}
    found = outcome

    def breaks(kept: Collection[int]) -> bool:
        nonlocal found
        tried = outcome_of(plan.only(kept))
        if not promises & {each.promise for each in tried.broken}:
            return False
        found = tried
        return True

    least(range(len(plan.entries)), breaks, TRIES)
    return found


def least(items: Sequence[int], breaks: Callable[[Collection[int]], bool], tries: int) -> list[int]:
    """A part of the items that breaks as all of them do, and of which nothing can be left out.

    Whole stretches are left out first, then smaller ones (delta debugging).
    """
    kept, size = list(items), max(len(items) // 2, 1)
    while kept and tries > 0:
        start, left_out = 0, False
        while start < len(kept) and tries > 0:
            without = kept[:start] + kept[start + size :]
            tries -= 1
            if breaks(without):
                kept, left_out = without, True
            else:
                start += size
        if size == 1 and not left_out:
            break
        size = max(size // 2, 1)
    return kept


def places(outcome: Outcome) -> list[int]:
    """Which entries of its seed's plan an outcome is of."""
    whole = a_plan(outcome.plan.seed).entries
    return [n for n, entry in enumerate(whole) if entry in outcome.plan.entries]


def command(outcome: Outcome) -> str:
    """What replays it."""
    kept = places(outcome)
    told = f"python -m tests.simulation --seed {outcome.plan.seed}"
    if len(kept) == len(a_plan(outcome.plan.seed).entries):
        return told
    return f"{told} --only {','.join(map(str, kept)) or 'none'}"
