"""Making things fail, as a plan says."""

from typing import TYPE_CHECKING

import msgspec

from streamwf.events import MOVED, Event, encode_event, request, source_of
from streamwf.record import State
from tests.simulation.broker import Given
from tests.simulation.flows import NAME
from tests.simulation.plan import Entry

if TYPE_CHECKING:
    from tests.simulation.worker import Worker
    from tests.simulation.world import World

#: Times that messages take longer while the network is slow.
SLOWNESS = 60.0

#: Seconds that steps take longer while they are slow.
LONGER = 1.5


class Faults:
    """What makes them."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._poisons = 0

    def make(self, entry: Entry) -> None:
        getattr(self, f"_{entry.what}")(entry)

    def end(self) -> None:
        """Nothing is made to fail any more, and whatever was stopped goes on."""
        world = self._world
        world.network.calm()
        world.made.slow = 0.0
        world.cluster.rewinds.clear()
        world.cluster.gaps.clear()
        for worker in world.workers:
            worker.disk.fail(0)
            if worker.process is not None and not worker.process.dead:
                worker.process.fuse = None
                world.loop.go_on(worker.process)
        for worker in world.workers[: world.plan.setup.workers]:
            worker.start()

    def _worker(self, entry: Entry) -> "Worker":
        number: int = entry["worker"]
        return self._world.workers[number - 1]

    def _name(self, entry: Entry) -> str:
        process = self._worker(entry).process
        return "" if process is None else process.name

    # ---- workers

    def _crash(self, entry: Entry) -> None:
        worker = self._worker(entry)
        worker.go_away(entry["seconds"], entry["after"], entry["disk"])

    def _freeze(self, entry: Entry) -> None:
        world, process = self._world, self._worker(entry).process
        if process is not None and not process.dead:
            world.loop.stop_process(process)
            world.later(entry["seconds"], lambda: world.loop.go_on(process))

    def _leave(self, entry: Entry) -> None:
        self._worker(entry).leave(entry["seconds"])

    def _join(self, entry: Entry) -> None:
        self._world.workers[-1].start()

    def _rebalance(self, entry: Entry) -> None:
        self._world.group.begin()

    def _clock(self, entry: Entry) -> None:
        worker = self._worker(entry)
        worker.skew += entry["by"]
        self._world.skew = max(self._world.skew, abs(worker.skew))

    def _disk(self, entry: Entry) -> None:
        self._worker(entry).disk.fail(entry["writes"])

    def _slow_steps(self, entry: Entry) -> None:
        self._world.made.slow = LONGER
        self._world.later(entry["seconds"], lambda: setattr(self._world.made, "slow", 0.0))

    # ---- the network

    def _away(self, entry: Entry) -> None:
        self._world.network.away_until = self._world.loop.now + entry["seconds"]

    def _cut(self, entry: Entry) -> None:
        until = self._world.loop.now + entry["seconds"]
        self._world.network.cut_until[self._name(entry)] = until

    def _mute(self, entry: Entry) -> None:
        until = self._world.loop.now + entry["seconds"]
        self._world.network.mute_until[self._name(entry)] = until

    def _slow(self, entry: Entry) -> None:
        network = self._world.network
        network.slowness, network.slow_until = SLOWNESS, self._world.loop.now + entry["seconds"]

    def _lose(self, entry: Entry) -> None:
        self._world.network.unheard[self._name(entry), entry["kind"]] += entry["count"]

    def _unanswered(self, entry: Entry) -> None:
        self._world.network.unanswered[self._name(entry), entry["kind"]] += entry["count"]

    # ---- logs

    def _rewind(self, entry: Entry) -> None:
        self._world.cluster.rewinds[self._name(entry)] = entry["records"]

    def _gap(self, entry: Entry) -> None:
        self._world.cluster.gaps[self._name(entry)] = entry["records"]

    def _compact(self, entry: Entry) -> None:
        world = self._world
        world.broker.compact(world.at(world.topics.changelog, entry["partition"]))

    def _echo(self, entry: Entry) -> None:
        """A record that is there is there again, as from a producer that was not answered."""
        log = self._world.log(entry["partition"])
        last = list(self._world.broker.all(log))[-entry["back"] :]
        if last:
            again = Given(last[0].key, last[0].value, self._now_ms())
            self._world.broker.append(log, [again])

    def _poison(self, entry: Entry) -> None:
        world, partition = self._world, entry["partition"]
        self._poisons += 1
        key, value = b"run-0", self._poison_of(entry["kind"], f"poison-{self._poisons}")
        if entry["kind"] != "misplaced":
            world.broker.append(world.log(partition), [Given(key, value, self._now_ms())])
            return
        wrong = (world.partition_of("run-0") + 1) % world.plan.setup.partitions
        world.broker.append(world.log(wrong), [Given(key, value, self._now_ms())])

    def _poison_of(self, kind: str, name: str) -> bytes | None:
        if kind == "empty":
            return None
        if kind == "no_json":
            return b"{" + name.encode()
        if kind == "no_event":
            return b'{"hello": 1}'
        if kind == "binary":
            return b"\xff\xfe\x00" + name.encode()
        now = self._world.true_now()
        event = request(NAME, "pause", "run-0", now, event_id=name, reason=name)
        if kind == "other_source":
            event = msgspec.structs.replace(event, source=source_of("other"))
        elif kind == "type":
            event = msgspec.structs.replace(event, type="explode")
        elif kind == "result":
            event = _a_result(name, event)
        return encode_event(event)

    def _now_ms(self) -> int:
        return int(self._world.true_now().timestamp() * 1000)


def _a_result(name: str, event: Event) -> Event:
    """Of a run that never was."""
    return msgspec.structs.replace(
        event, type=MOVED, runid=name, version=1, status="S1", state=State.RUNNING
    )
