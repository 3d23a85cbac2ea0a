"""Beyond the table: runs that start runs of other workflows and wait for them."""

import pytest

from streamwf import State
from tests.acceptance.flows.carried import DONE, EXPIRED, FAILED, MORE, WAITING, Status, Thing
from tests.acceptance.flows.children import Parent, offspring, parents
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row


async def started(host: Host, name: str, wait: Status, **how: object) -> str:
    """The id of a run that waits for its children."""
    parent = Parent(wait=wait.name, **how)
    run_id = await host.client.trigger(parents, name, parent)
    await host.client.await_(parents, run_id, wait)
    return run_id


async def end(host: Host, foreign_id: str, how: Status) -> None:
    """End a child, once it is there."""

    async def there() -> bool:
        run = await host.client.latest(offspring, foreign_id)
        return run is not None and run.status is WAITING

    await host.until(there)
    await host.client.callback(offspring, "end", how.name, foreign_id=foreign_id)


@row("beyond children", "A step runs once all of them have ended, and sees how.")
async def test_all_of_them(host: Host, name: str) -> None:
    run_id = await started(host, name, WAITING)
    await end(host, f"{name}/1", FAILED)
    run = await host.client.get(parents, run_id)
    assert (run.status, run.due_at) == (WAITING, None)
    await end(host, f"{name}/0", DONE)
    run = await host.client.await_(parents, run_id)
    assert run.object.trail == ["0 COMPLETED DONE", "1 COMPLETED FAILED"]


@row("beyond children", "Or once any of them has; or each time that one has.")
@pytest.mark.parametrize("wait", [MORE, EXPIRED])
async def test_any_and_each_of_them(host: Host, name: str, wait: Status) -> None:
    run_id = await started(host, name, wait)
    await end(host, f"{name}/1", DONE)
    if wait is EXPIRED:

        async def seen() -> bool:
            run = await host.client.get(parents, run_id)
            return run.object.trail == ["1 COMPLETED DONE"]

        await host.until(seen)
        assert (await host.client.get(parents, run_id)).state is State.RUNNING
        await end(host, f"{name}/0", FAILED)
    run = await host.client.await_(parents, run_id)
    each = ["1 COMPLETED DONE", "0 COMPLETED FAILED"]
    assert run.object.trail == (each if wait is EXPIRED else each[:1])


@row("beyond children", "They are cancelled with their parent, if it says so.")
@pytest.mark.parametrize("cascade", [True, False])
async def test_cancel_passes_down(host: Host, name: str, cascade: bool) -> None:
    run_id = await started(host, name, WAITING, cascade=cascade)
    for number in range(2):
        await host.until(lambda n=number: host.client.latest(offspring, f"{name}/{n}"))
    await host.client.cancel(run_id, "enough")
    if not cascade:
        await end(host, f"{name}/0", DONE)
    for number in range(2 if cascade else 1):
        run = await host.client.run(offspring, f"{name}/{number}").await_()
        assert run.state is (State.CANCELLED if cascade else State.COMPLETED)
        assert not cascade or run_id in run.reason


@row(
    "beyond children",
    "One whose foreign id has a run in progress is refused, and counts as cancelled.",
)
async def test_one_that_is_refused(host: Host, name: str) -> None:
    other = await host.client.trigger(offspring, f"{name}/0", Thing(), wait=True)
    run_id = await started(host, name, WAITING)
    await end(host, f"{name}/1", DONE)
    run = await host.client.await_(parents, run_id)
    assert run.object.trail == ["0 CANCELLED ", "1 COMPLETED DONE"]
    assert (await host.client.get(offspring, other)).state is State.RUNNING


@row("beyond children", "Of none, all have ended.")
async def test_none_of_them(host: Host, name: str) -> None:
    run_id = await host.client.trigger(parents, name, Parent(count=0))
    assert (await host.client.await_(parents, run_id)).object.trail == []
