"""What chaos is made of, each part alone: the plan, the recorder, the figures, the proxy."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from streamwf.adapters.kafka.topics import partition_of
from tests.chaos import recorder
from tests.chaos.faults import Done
from tests.chaos.network import Proxies
from tests.chaos.plan import LASTS, WORKERS, Fault, Kind, plan
from tests.chaos.recorder import Noted
from tests.chaos.report import Recovery, recoveries
from tests.kafka.cluster import PARTITIONS
from tests.proof.story import Executed
from tests.support import NOW, eventually

ROOT = Path(__file__).parents[2]


# ---- the plan


def test_a_seed_leads_to_one_plan() -> None:
    assert plan(7, 180, list(Kind)) == plan(7, 180, list(Kind))
    assert plan(7, 180, list(Kind)) != plan(8, 180, list(Kind))


def test_three_minutes_have_room_for_all() -> None:
    for seed in range(1_000):
        faults = plan(seed, 180, list(Kind))
        assert {fault.kind for fault in faults} == set(Kind), f"seed {seed}"
        for fault in faults:
            shortest, longest = LASTS[fault.kind]
            assert shortest <= fault.seconds <= longest
            assert 0 < fault.at < 180
            assert (fault.worker == WORKERS) is (fault.kind is Kind.JOIN)


def test_what_a_machine_does_not_allow_is_not_planned() -> None:
    assert {fault.kind for fault in plan(1, 600, [Kind.KILL, Kind.CUT])} == {Kind.KILL, Kind.CUT}


# ---- the recorder

CALLING = """
import asyncio, sys
from types import SimpleNamespace
from tests.chaos.flows import Status
from tests.chaos.recorder import recorded

run = SimpleNamespace(
    run_id="r", foreign_id="f", status=Status.PLACED, version=2, attempt=1, idempotency_key="r-1"
)

@recorded("step")
def quick(run):
    return Status.PRICED

@recorded("timeout")
async def clumsy(run):
    raise ValueError

@recorded("callback")
async def endless(run, payload):
    print("hangs", flush=True)
    await asyncio.sleep(3600)

quick(run)
try:
    asyncio.run(clumsy(run))
except ValueError:
    pass
asyncio.run(endless(run, b""))
"""


def test_calls_are_recorded_by_whoever_is_killed_after_them(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    environment = {recorder.FILE: str(calls), recorder.WORKER: "w", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", CALLING],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"hangs\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    made = [each.executed for each in recorder.read(calls)]
    assert [(call.kind, call.name, call.outcome) for call in made] == [
        ("step", "", "PRICED"),
        ("timeout", "clumsy", "!ValueError"),
        ("callback", "endless", ""),
    ]
    assert [call.ended is None for call in made] == [False, False, True]
    assert {call.worker for call in made} == {f"w-{process.pid}"}


# ---- the figures


def called(foreign_id: str, began: float) -> Noted:
    executed = Executed(
        kind="step",
        worker="w",
        run_id=f"run of {foreign_id}",
        foreign_id=foreign_id,
        status="PLACED",
        version=1,
        attempt=1,
        idempotency_key=f"{foreign_id}-1",
        began=NOW,
    )
    return Noted(executed, began, timedelta(0))


def test_a_shard_has_recovered_when_it_calls_again() -> None:
    names = {partition_of(f"o-{n}", PARTITIONS): f"o-{n}" for n in range(100)}
    calls = [called(names[0], 9), called(names[0], 12), called(names[1], 15), called(names[2], 90)]

    def done(kind: Kind, since: float, *shards: int) -> Done:
        return Done(Fault(kind, 0, 1, 0), frozenset(shards), since)

    assert recoveries(
        [
            done(Kind.KILL, 10, 0, 1),
            done(Kind.KILL, 10, 0),
            done(Kind.CUT, 10, 3),
        ],
        calls,
    ) == {str(Kind.KILL): Recovery(2, 5, 5), str(Kind.CUT): Recovery(1, None, None)}


# ---- the proxy


async def test_a_proxy_that_is_cut_holds_back_until_it_is_healed() -> None:
    proxies = Proxies(2)
    came: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            came.append(line)
            writer.write(line)
        writer.close()

    bound, told = proxies.listeners["WORKER1"]
    host, _, port = bound.partition(":")
    server = await asyncio.start_server(echo, host, int(port))
    await proxies.open()
    reader, writer = await asyncio.open_connection(host, int(told.partition(":")[2]))
    try:
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        proxies.cut(1)
        proxies.cut_all()
        writer.write(b"two\n")
        proxies.heal(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        assert came == [b"one\n"]
        proxies.heal_all()
        assert await eventually(lambda: came[1:] == [b"two\n"])
        assert await reader.readline() == b"two\n"
    finally:
        writer.close()
        await proxies.close()
        server.close()
