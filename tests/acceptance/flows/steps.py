"""1 step: on the loop or in a thread."""

import asyncio
import threading

from streamwf import Workflow
from tests.acceptance.flows.carried import DONE, MORE, NEW, Status, Thing, ThingRun

steps = Workflow("steps", Thing, Status)


def _where() -> str:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return f"thread {threading.current_thread().name.rpartition('_')[0]}"
    return "loop"


@steps.step(NEW, to=MORE)
async def on_the_loop(run: ThingRun) -> Status:
    run.object.trail.append(_where())
    return MORE


@steps.step(MORE, to=DONE)
def in_a_thread(run: ThingRun) -> Status:
    run.object.trail.append(_where())
    return DONE
