"""Roles: what a worker does in each shard, and whether it is at it."""

from datetime import timedelta

from streamwf import Run, Workflow
from streamwf.testing import engine
from tests.embedded.app import CREATED, DONE, PICKED, Gate, Order, Status
from tests.support import eventually


async def test_roles_are_idle_until_they_have_something_to_do() -> None:
    workflow = Workflow("orders", Order, Status, start=CREATED)
    gate = Gate()

    @workflow.step(CREATED, to=PICKED)
    async def create(run: Run[Order, Status]) -> Status:
        await gate.wait()
        return PICKED

    @workflow.timeout(PICKED, after=timedelta(hours=1), to=DONE)
    async def late(run: Run[Order, Status]) -> Status:
        return DONE

    @workflow.callback(PICKED, to=DONE)
    async def done(run: Run[Order, Status], payload: bytes) -> Status:
        return DONE

    async with engine(workflow) as app:
        roles = (await app.client.roles()).roles
        assert {(role.name, role.health) for role in roles} == {
            ("orders-created-consumer-1-of-1", "idle"),
            ("orders-picked-timeout-consumer-1-of-1", "idle"),
            ("orders-picked-callback-consumer-1-of-1", "idle"),
        }
        await app.trigger(workflow, "o-1", Order())
        await eventually(lambda: gate.waiting)
        [at_work] = [r for r in (await app.client.roles()).roles if r.health == "active"]
        assert (at_work.status, at_work.process, at_work.running) == ("CREATED", "consumer", 1)
        gate.open()
        await app.settle()
        assert {role.health for role in (await app.client.roles()).roles} == {"idle"}
