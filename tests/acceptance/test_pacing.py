"""Beyond the table: how fast a step may run, and for whom first."""

from datetime import timedelta

from tests.acceptance.flows.carried import DONE, EXPIRED, WAITING
from tests.acceptance.flows.pacing import RATE, Call, paced
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs


@row("beyond pacing", "No more runs of a step than `rate=` says are started in its time.")
async def test_a_rate(host: Host, name: str, signs: Signs) -> None:
    names = host.spread(name, 2 * RATE.runs)
    runs = [
        await host.client.trigger(paced, each, Call(folder=signs.folder), at=EXPIRED)
        for each in names
    ]
    await host.until(lambda: len(signs.notes()) >= RATE.runs // 2)
    await host.pass_time(3 * RATE.per)
    ended = [await host.client.await_(paced, run_id) for run_id in runs]
    assert {run.status for run in ended} == {DONE}
    assert sorted(signs.notes()) == sorted(names)
    # When a result was made says little on a machine that is busy; a clock that is stepped, all.
    times = sorted(run.updated_at if host.steps_clock else run.object.begun for run in ended)
    slack = timedelta(milliseconds=50)
    if host.shards > RATE.runs:
        # They take turns then, and a run that comes late in its shard's turn shortens the next.
        slack = RATE.per / RATE.runs
    for first, after in zip(times, times[RATE.runs :], strict=False):
        assert after - first >= RATE.per - slack


@row(
    "beyond pacing", "Of the runs that wait for a step, those of the greatest `priority=` go first."
)
async def test_a_priority(host: Host, name: str, signs: Signs) -> None:
    [busy, *others] = host.spread(name, 4, together=True)
    thing = Call(folder=signs.folder)
    runs = [await host.client.trigger(paced, busy, thing, at=WAITING)]
    await host.until(lambda: signs.notes() == [busy])
    for each, rank in zip(others, (1, 3, 2), strict=True):
        thing = Call(folder=signs.folder, rank=rank)
        runs.append(await host.client.trigger(paced, each, thing, at=WAITING, wait=True))
    signs.put_up("go on")
    for run_id in runs:
        await host.client.await_(paced, run_id)
    low, high, middle = others
    assert signs.notes() == [busy, high, middle, low]
