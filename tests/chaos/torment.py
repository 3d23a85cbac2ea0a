"""The whole of it: a load, faults, calm, and what there is to say then."""

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from streamwf import events
from streamwf.adapters.kafka.topics import ensure_topics
from streamwf.record import LIVE, State
from tests.chaos import checks, recorder
from tests.chaos.asking import Asking, Request
from tests.chaos.faults import Chaos
from tests.chaos.flows import orders
from tests.chaos.load import Load
from tests.chaos.plan import WORKERS, Kind, plan
from tests.chaos.report import Report, describe, recoveries
from tests.chaos.stage import START, Stage, Victim
from tests.chaos.telling import tell, with_own_tables
from tests.kafka.cluster import until
from tests.proof.story import Broken, Story

#: Seconds in which all has to finish that can, once nothing is made to fail any more.
SETTLE = 180.0

#: Seconds between two looks at whether it has.
LOOK = 0.5

#: So many of them in a row have to find nothing left to do.
RESTS = 6

#: States of a run that something is still to become of.
UNFINISHED = "&".join(f"state={state}" for state in (*LIVE, State.DATA_DELETION_REQUESTED))


class Torment:
    """One session of chaos, in a folder that is left with all that was written.

    seconds: how long faults are made. only: of these kinds. say: told of what is done.
    exactly_once: have no result in the topic twice, and judge that, too.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        seconds: float,
        say: Callable[[str], None],
        only: Collection[Kind] = tuple(Kind),
        *,
        exactly_once: bool = False,
    ) -> None:
        #: What is being done at the moment.
        self.phase = "starting"
        self.placed = self.made = 0
        self._folder = folder
        self._seed = seed
        self._seconds = seconds
        self._only = only
        self._exactly_once = exactly_once
        self._say = say
        self._enough = asyncio.Event()
        self._silent: list[str] = []

    def interrupt(self) -> None:
        """Make no more faults, and look at what there is."""
        self._enough.set()

    async def run(self, *, proxies: bool = False) -> Report:
        """proxies: between workers and broker, even where the machine allows namespaces."""
        once = self._exactly_once
        async with Stage(self._folder, self._say, proxies=proxies, exactly_once=once) as stage:
            await ensure_topics([orders.name], stage.cluster.settings)
            for worker in stage.workers[:WORKERS]:
                stage.start(worker)
            await stage.all_listen()
            asking = self._asking(stage)
            try:
                await until(lambda: _all_ready(stage, asking), "ready workers", START)
                return await self._on(stage, asking)
            finally:
                await asking.close()

    def _asking(self, stage: Stage) -> Asking:
        def urls() -> list[str]:
            return [worker.url for worker in stage.workers if worker.listens]

        chance = random.Random(f"asking {self._seed}")
        return Asking(urls, stage.cluster.topics.events, stage.cluster.settings, chance)

    async def _on(self, stage: Stage, asking: Asking) -> Report:
        report = Report(self._seed, self._seconds, stage.network.name)
        report.missing = {str(kind): why for kind, why in stage.missing.items()}
        chaos, load = Chaos(stage, self._say), Load(asking, self._seed)
        await self._torment(stage, chaos, load)
        report.interrupted = self._enough.is_set()
        report.placed = load.placed
        self.phase = "calm"
        calm_at, began = datetime.now(UTC), time.monotonic()
        await stage.calm()
        await load.ended()
        settled = await self._settled(stage, asking)
        report.seconds_to_settle = time.monotonic() - began
        await self._judge(stage, chaos, asking, calm_at, settled, report)
        return report

    async def _judge(
        self,
        stage: Stage,
        chaos: Chaos,
        asking: Asking,
        calm_at: datetime,
        settled: bool,
        report: Report,
    ) -> None:
        self.phase = "judging"
        if settled:
            await stage.cluster.checkpointed()
        noted = recorder.read(stage.calls)
        report.faults = recoveries(chaos.done, noted)
        times = {kind: recovery.times for kind, recovery in report.faults.items()}
        story = await tell(
            stage.cluster,
            noted,
            asking.asked,
            calm_at=calm_at,
            settled=settled,
            faults=times,
            longest=max((done.fault.seconds for done in chaos.done), default=0.0),
            exactly_once=self._exactly_once,
        )
        verified = await stage.cluster.verify(orders)
        report.rows_verified, report.differences = verified.rows, len(verified.differences)
        report.exits = {worker.name: worker.ended for worker in stage.workers if worker.ended}
        story = await self._stopped(stage, chaos, story)
        describe(report, story)
        report.broken = [
            *checks.broken(story, noted, chaos.done, verified),
            *(Broken("who_is_told_to_stop_stops", name) for name in chaos.stuck),
            *(Broken("who_runs_answers", name) for name in self._silent),
        ]
        keep(story, self._folder)

    async def _torment(self, stage: Stage, chaos: Chaos, load: Load) -> None:
        kinds = [kind for kind in stage.kinds if kind in self._only]
        faults = plan(self._seed, self._seconds, kinds)
        self.phase = "tormenting"
        placing = asyncio.create_task(load.run())
        making = asyncio.create_task(chaos.run(faults))
        enough = asyncio.create_task(self._enough.wait())
        ending = asyncio.create_task(asyncio.sleep(self._seconds))
        try:
            while not ending.done() or not making.done():
                self.placed, self.made = load.placed, len(chaos.done)
                waiting = {task for task in (ending, making) if not task.done()} | {enough}
                await asyncio.wait(waiting, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
                if enough.done():
                    break
                if placing.done() or making.done():
                    # Raises what has gone wrong, if it has.
                    (placing if placing.done() else making).result()
        finally:
            for task in (placing, making, enough, ending):
                task.cancel()
            await asyncio.gather(placing, making, enough, ending, return_exceptions=True)

    async def _settled(self, stage: Stage, asking: Asking) -> bool:
        """Let go what is paused, and wait until nothing is left to do. Whether that has come."""
        deadline, rests = time.monotonic() + SETTLE, 0
        while time.monotonic() < deadline and rests < RESTS:
            await _resume_all(asking)
            told = await asking.get(f"runs/count?{UNFINISHED}")
            at_rest = told is not None and told["count"] == 0 and not await _silent(stage, asking)
            # Hooks and what else comes after the end of a run may still be on its way.
            rests = rests + 1 if at_rest else 0
            await asyncio.sleep(LOOK)
        for worker in [] if rests == RESTS else await _silent(stage, asking):
            self._silent.append(worker.name)
            worker.wanted = False
            if worker.runs:
                # It tells where each of its threads is.
                worker.signal(signal.SIGABRT)
        return rests == RESTS

    async def _stopped(self, stage: Stage, chaos: Chaos, story: Story) -> Story:
        """The story with what the workers have in their directories, once they have stopped."""
        owned = {worker.data_dir: worker.shards for worker in stage.workers if worker.runs}
        for worker in stage.workers:
            worker.wanted = False
        await asyncio.gather(*(chaos.told_to_stop(worker) for worker in stage.workers))
        return await asyncio.to_thread(with_own_tables, story, owned)


async def _resume_all(asking: Asking) -> None:
    told = await asking.get("runs?state=PAUSED&limit=1000")
    for run in [] if told is None else told["runs"]:
        key = f"calm-{run['version']}"
        resume = Request(events.RESUME, run["foreign_id"], run["run_id"], key)
        await asking.ask(resume, straight=False)


async def _all_ready(stage: Stage, asking: Asking) -> bool:
    return not await _silent(stage, asking)


async def _silent(stage: Stage, asking: Asking) -> list[Victim]:
    """Workers that are there, and not ready."""

    async def is_ready(worker: Victim) -> bool:
        return worker.listens and await asking.is_ready(worker.url)

    wanted = [worker for worker in stage.workers if worker.wanted]
    ready = await asyncio.gather(*map(is_ready, wanted))
    return [worker for worker, yes in zip(wanted, ready, strict=True) if not yes]


def keep(story: Story, folder: Path) -> None:
    """Write down what was judged, in files that people can read."""
    with (folder / "log.jsonl").open("w") as file:
        for partition, log in story.logs.items():
            for each in log:
                value = (each.value or b"").decode(errors="replace")
                told = {"partition": partition, "offset": each.offset, "value": value}
                file.write(f"{json.dumps(told)}\n")
    for name, found in (("executed", story.executed), ("asked", story.asked)):
        with (folder / f"{name}.jsonl").open("wb") as binary:
            binary.writelines(msgspec.json.encode(one) + b"\n" for one in found)
    tables = {"in the changelog": story.rows, **story.recovered}
    with (folder / "rows.jsonl").open("wb") as binary:
        for name, shards in tables.items():
            for partition, rows in shards.items():
                for key, record in rows.items():
                    row = {"table": name, "partition": partition, "key": key, "record": record}
                    binary.write(msgspec.json.encode(row) + b"\n")
