"""A worker of one point of `benchmarks.growth`, in a process of its own.

`python -m benchmarks.growing TYPE EVENTS STEPS BROKERS PREFIX PARTITIONS FOLDER` works until so
many events of a type have been folded, of runs whose triggers are in the log already. It prints the
usage as JSON, from the first tenth of them to the last one.
"""

import asyncio
import json
import sys
from dataclasses import asdict
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.measured import LOOK, Usage, between
from benchmarks.waiting_flow import FAR
from streamwf import Run, Workflow
from streamwf.adapters import loggers
from streamwf.agents.app import faust_app
from streamwf.agents.worker import tune
from streamwf.settings import Settings
from streamwf.verdict import Verdict

#: Where runs wait: until an instant far away, and for a callback.
TIMED, CALLED = "TIMED", "CALLED"


def flow(steps: int) -> Workflow[dict[str, Any], Any]:
    """From S0 to the last in so many steps that do nothing. Before S0 runs wait."""
    names = [f"S{number}" for number in range(steps + 1)]
    status: Any = Enum("Status", [TIMED, CALLED, *names])  # type: ignore[misc]
    made: Workflow[dict[str, Any], Any] = Workflow("growing", dict, status)

    def add(now: Any, then: Any) -> None:
        @made.step(now, to=then)
        async def move(run: Run[dict[str, Any], Any]) -> Any:
            return then

    for now, then in pairwise(names):
        add(status[now], status[then])

    @made.timeout(status[TIMED], after=lambda run: FAR, to=status[CALLED])
    async def wait(run: Run[dict[str, Any], Any]) -> Any:
        return status[CALLED]

    @made.callback(status[CALLED], to=status["S0"])
    async def call(run: Run[dict[str, Any], Any], payload: bytes) -> Any:
        return status["S0"]

    return made


async def main(kind: str, events: int, steps: int, settings: Settings) -> Usage:
    loggers.configure(settings.log_level)
    app = faust_app(flow(steps), settings=settings)
    app.finalize()
    running = asyncio.ensure_future(app.start())
    verdicts = app.host.measures("growing").verdicts

    def folded() -> int:
        return verdicts[kind, Verdict.ACCEPTED]

    usage = await between(folded, events)
    while folded() < events:
        await asyncio.sleep(LOOK)
    await app.stop()
    await running
    return usage


if __name__ == "__main__":
    kind, events, steps, brokers, prefix, partitions, folder = sys.argv[1:]
    tune()
    told = uvloop.run(
        main(
            kind,
            int(events),
            int(steps),
            Settings(
                brokers=brokers,
                topic_prefix=prefix,
                partitions=int(partitions),
                data_dir=Path(folder),
                web_port=0,
                log_level="warning",
            ),
        )
    )
    print(json.dumps(asdict(told)), flush=True)
