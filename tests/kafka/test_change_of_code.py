"""Workers stop, and start again with other code: the runs go on, as `check` has said before."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.kafka.cluster import HERE, Cluster, until

pytestmark = pytest.mark.timeout(150)

BROKEN = [f"broken-{number}" for number in range(3)]
LATE = [f"late-{number}" for number in range(5)]


async def check(cluster: Cluster, flows: str) -> tuple[int, Any]:
    """What `streamwf check` says of a definition, held against the topics."""
    settings = cluster.settings
    command = [sys.executable, "-m", "streamwf.cli", "check", str(HERE / f"{flows}.py")]
    place = ["--brokers", settings.brokers, "--topic-prefix", settings.topic_prefix]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--against", "kafka", *place, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_runs_go_on_by_the_code_that_was_checked_before(cluster: Cluster) -> None:
    first = cluster.worker("first").start()
    await cluster.trigger(BROKEN, item="broken")
    await cluster.trigger(["done-0", "done-1"])

    async def at_picked() -> bool:
        failed = {e["subject"] for e in await cluster.events() if e["type"] == "failed"}
        return failed == set(BROKEN) and await cluster.completed() == 2

    await until(at_picked, "runs that fail at PICKED, and two that have ended")

    # While the former code runs, and again when nobody does.
    told, seen = await check(cluster, "flows_without_a_status"), await check(cluster, "flows")
    assert (told[0], told[1]["live"], told[1]["blocked"]) == (1, 3, 3)
    [problem] = told[1]["problems"]
    assert problem["problem"] == "there is no status PICKED any more"
    assert sorted(run["foreign_id"] for run in problem["runs"]) == BROKEN
    assert (seen[0], seen[1]["blocked"]) == (0, 0)
    assert first.stop() == 0

    # No checkpoint has these: only the log does.
    await cluster.trigger(LATE)
    code, told = await check(cluster, "flows_changed")
    assert (code, told["live"], told["problems"]) == (0, 8, [])
    assert told["definition"] == "with-a-check"

    cluster.worker("second", FLOWS="flows_changed").start()

    async def all_ended() -> bool:
        return await cluster.completed() == len(BROKEN) + len(LATE) + 2

    await until(all_ended, "all runs by the new code")
    code, told = await check(cluster, "flows_without_a_status")
    assert (code, told["live"]) == (0, 0)

    ends = {e["subject"]: e for e in await cluster.events() if e.get("state") == "COMPLETED"}
    trails = Counter(" ".join(ends[name]["data"]["trail"]) for name in BROKEN + LATE)
    assert trails == {
        "CREATED COLLECTED CHECKED PACKED": 8,
    }
    assert {ends[name]["definition"] for name in BROKEN + LATE} == {"with-a-check"}
    assert ends["done-0"]["definition"] not in ("", "with-a-check")
    await cluster.checkpointed()
    assert not (await cluster.verify()).differences


async def test_there_is_nothing_to_check_against(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match=r"No workflow 'orders' here"):
        await check(cluster, "flows")
