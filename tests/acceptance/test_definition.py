"""1 Defining a workflow: its types, steps, hooks, mistakes and diagram."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from streamwf import State, Workflow
from streamwf.errors import InvalidObject
from streamwf.redaction import MASK
from tests.acceptance.flows.carried import DONE, WAITING, Thing
from tests.acceptance.flows.hooks import hooks
from tests.acceptance.flows.orders import orders
from tests.acceptance.flows.payments import Payment, payments
from tests.acceptance.flows.steps import steps
from tests.acceptance.flows.typed import (
    AT,
    Data,
    Model,
    Number,
    Plain,
    Text,
    Typed,
    of_dataclasses,
    of_dicts,
    of_models,
    of_typed_dicts,
)
from tests.acceptance.hosts import Host
from tests.acceptance.rows import row
from tests.acceptance.signs import Signs

PRICE = Decimal("0.10")


@row(
    "1 workflow",
    "Objects are pydantic models, dataclasses, TypedDicts or dicts, statuses are any enum, and both"
    " come back as what they were.",
)
@pytest.mark.parametrize(
    ("workflow", "begun", "ended", "status"),
    [
        (
            of_models,
            Model(price=PRICE, at=AT),
            Model(price=2 * PRICE, at=AT, tags={"model"}),
            Plain.ENDED,
        ),
        (
            of_dataclasses,
            Data(price=PRICE, at=AT),
            Data(price=2 * PRICE, at=AT, tags={"dataclass"}),
            Number.ENDED,
        ),
        (
            of_typed_dicts,
            Typed(price=PRICE, at=AT, tags=set()),
            Typed(price=2 * PRICE, at=AT, tags={"TypedDict"}),
            Text.ENDED,
        ),
        (of_dicts, {"price": 5, "tags": []}, {"price": 10, "tags": ["dict"]}, Plain.ENDED),
    ],
    ids=["model", "dataclass", "TypedDict", "dict"],
)
async def test_objects_and_statuses_of_every_type(
    host: Host, name: str, workflow: Workflow[Any, Any], begun: Any, ended: Any, status: Any
) -> None:
    run_id = await host.client.trigger(workflow, name, begun)
    run = await host.client.await_(workflow, run_id)
    assert run.object == ended
    assert type(run.object) is type(ended)
    assert run.status is status


@row(
    "1 workflow", "An object that does not fit is refused, and the fields that are wrong are named."
)
async def test_an_object_that_does_not_fit(host: Host, name: str) -> None:
    wrong = Model.model_construct(price="cheap", at=AT, tags=set())
    with pytest.raises(InvalidObject, match="price"):
        await host.client.trigger(of_models, name, wrong)
    assert await host.client.latest(of_models, name) is None


@row("1 step", "An `async def` runs on the loop, a plain `def` in a thread.")
async def test_a_step_on_the_loop_and_one_in_a_thread(host: Host, name: str) -> None:
    run_id = await host.client.trigger(steps, name, Thing())
    run = await host.client.await_(steps, run_id)
    assert run.object.trail == ["loop", "thread streamwf-step"]


# ---- hooks


@row(
    "1 hooks",
    "Each is called after its change, with the run as it has become, and changes nothing.",
)
async def test_hooks_for_every_change(host: Host, name: str, signs: Signs) -> None:
    run_id = await host.client.trigger(hooks, name, Thing(folder=signs.folder))
    await host.client.await_(hooks, run_id, WAITING)
    await host.client.pause(run_id, "lunch")
    await host.until(lambda: signs.notes() == ["pause PAUSED lunch 1"])
    await host.client.resume(run_id, "back")
    await host.until(lambda: signs.notes()[1:] == ["resume RUNNING back 1"])
    await host.client.callback(hooks, "end", b"", run_id=run_id)
    await host.until(lambda: signs.notes()[2:] == ["complete COMPLETED  1"])
    await host.client.delete_data(run_id, "asked for")
    await host.until(lambda: signs.notes()[3:] == ["deleted [] DATA_DELETED  1"])
    run = await host.client.get(hooks, run_id)
    assert (run.status, run.object.trail) == (DONE, [])


@row("1 hooks", "`on_cancel` is called whoever cancels: a person, or a step.")
@pytest.mark.parametrize("within", [True, False])
async def test_a_hook_for_cancel(host: Host, name: str, signs: Signs, within: bool) -> None:
    if within:
        signs.put_up("cancel")
    run_id = await host.client.trigger(hooks, name, Thing(folder=signs.folder))
    if not within:
        await host.client.await_(hooks, run_id, WAITING)
        await host.client.cancel(run_id, "from without")
    await host.client.await_(hooks, run_id)
    reason = "from within" if within else "from without"
    await host.until(lambda: signs.notes() == [f"cancel CANCELLED {reason} 1"])


@row("1 hooks", "One that fails is tried again until it succeeds, and the outcome is as it was.")
async def test_a_hook_that_fails_is_tried_again(host: Host, name: str, signs: Signs) -> None:
    signs.put_up("broken")
    run_id = await host.client.trigger(hooks, name, Thing(folder=signs.folder))
    await host.client.await_(hooks, run_id, WAITING)
    await host.client.callback(hooks, "end", b"", run_id=run_id)
    await host.until(lambda: signs.notes() == ["complete COMPLETED  1"])
    signs.take_down("broken")
    await host.pass_time(timedelta(seconds=1))
    await host.until(lambda: signs.notes()[1:] == ["complete COMPLETED  2"])
    run = await host.client.get(hooks, run_id)
    assert (run.status, run.state) == (DONE, State.COMPLETED)


# ---- sensitive fields


@row(
    "1 sensitive fields",
    "A masked field is whole for the steps, and in no view, log line or error.",
)
@pytest.mark.parametrize("refused", [True, False])
async def test_a_masked_field(host: Host, name: str, signs: Signs, refused: bool) -> None:
    secret = f"4111-{uuid.uuid4()}"
    if refused:
        signs.put_up("refused")
    payment = Payment(folder=signs.folder, card=secret)
    run_id = await host.client.trigger(payments, name, payment, wait=True)
    state = State.PAUSED if refused else State.COMPLETED

    async def reached() -> bool:
        return (await host.client.get(payments, run_id)).state is state

    await host.until(reached)
    assert signs.notes() == [secret]

    async def listed() -> str | None:
        page = await host.page(f"/api/v1/runs?foreign_id={name}")
        return page if '"missing":[]' in page else None

    paths = (f"runs/{run_id}", f"runs/{run_id}/history")
    pages = [await host.page(f"/api/v1/{path}") for path in paths]
    pages.append(await host.until(listed) or "")
    for page in pages:
        assert MASK in page
        assert secret not in page
    run = await host.client.get(payments, run_id)
    assert run.object.card in (secret, MASK)
    if refused:
        assert run.error is not None
        assert run.error.message == f"the bank refused {MASK}"
        assert secret not in run.error.traceback
    assert name in host.said()
    assert secret not in host.said()


# ---- mistakes


@row("1 validation", "All mistakes are told at once, before anything runs, each with its cure.")
async def test_all_mistakes_are_told_at_once(host: Host) -> None:
    said = await host.refusal("tests.acceptance.flows.mistakes:mistaken")
    for mistake in (
        "two steps at NEW: keep one",
        "two timeouts called 'late' at MORE: give one another with name=",
        "step at WAITING: destination <Text.ENDED: 'ended'> is no status: use one of Status",
        "step at MORE: parallel needs to be 1 or more",
        "step at DONE: it leads nowhere: name its statuses in to=",
        "EXPIRED is never reached from NEW: lead to it, or remove its step",
    ):
        assert mistake in said
    assert "Traceback" not in said


@row(
    "1 diagram",
    "A running workflow tells its diagram, with its start, its choices and its ends, and it is"
    " drawn in any of four directions.",
)
async def test_a_diagram_in_every_direction(host: Host) -> None:
    told = (await host.client.describe(orders.name)).mermaid
    lines = [line.strip() for line in told.splitlines()]
    assert lines[:3] == ["stateDiagram-v2", "direction TB", 'state "New" as s0']
    # Its start, a choice and an end.
    assert {"[*] --> s0", "state s1_choice <<choice>>", "s3 --> [*]"} < set(lines)
    for direction in ("TB", "LR", "RL", "BT"):
        drawn = orders.mermaid(direction)
        assert drawn == told.replace("direction TB", f"direction {direction}")
