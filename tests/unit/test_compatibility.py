"""Which live runs a changed definition can go on with, which it can't, and why."""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

import msgspec
import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from streamwf import Workflow
from streamwf.compatibility import Problem, problems
from streamwf.objects import SEALED_JSON
from streamwf.record import LIVE, Call, Record, State, Timer
from tests.support import NOW, record

HOUR = timedelta(hours=1)


class Order(BaseModel):
    n: int = 0


class Status(Enum):
    CREATED = 1
    PICKED = 2
    DONE = 3


class FewerStatuses(Enum):
    CREATED = 1
    DONE = 3


def nothing(run: Any, payload: Any = None) -> Any:
    raise AssertionError("nobody runs it")


def orders(**options: Any) -> Workflow[Any, Any]:
    """CREATED by a step to PICKED, and that one as a test declares it, to DONE."""
    workflow: Workflow[Any, Any] = Workflow("orders", Order, Status, **options)
    workflow.step(Status.CREATED, to=Status.PICKED)(nothing)
    return workflow


def picking(**options: Any) -> Workflow[Any, Any]:
    """With a step at PICKED too."""
    workflow = orders(**options)
    workflow.step(Status.PICKED, to=Status.DONE)(nothing)
    return workflow


def fewer(**renamed: FewerStatuses) -> Workflow[Any, Any]:
    """PICKED is gone."""
    workflow: Workflow[Any, Any] = Workflow("orders", Order, FewerStatuses, renamed=renamed)
    workflow.step(FewerStatuses.CREATED, to=FewerStatuses.DONE)(nothing)
    return workflow


def carrying(kind: type[Any]) -> Workflow[Any, Any]:
    """The same statuses, with another type of object."""
    workflow: Workflow[Any, Any] = Workflow("orders", kind, Status)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    return workflow


def picked(**fields: Any) -> Record:
    """A run at PICKED whose step is due."""
    return record(**{"status": "PICKED", "entered": True, "due_at": NOW, **fields})


def with_object(data: bytes) -> Record:
    return record(object=msgspec.Raw(data), entered=True, due_at=NOW)


def only(workflow: Workflow[Any, Any], run: Record) -> Problem:
    workflow.validate()
    [found] = problems(workflow, run)
    return found


def fine(workflow: Workflow[Any, Any], run: Record) -> bool:
    workflow.validate()
    return problems(workflow, run) == []


# ---- the status


def test_a_run_goes_on_by_the_same_definition() -> None:
    assert fine(picking(), picked())
    assert fine(picking(), record(due_at=NOW))


def test_a_status_that_is_gone() -> None:
    found = only(fewer(), picked())
    assert found == Problem(
        workflow="orders",
        foreign_id="o-1",
        run_id="run-1",
        status="PICKED",
        state=State.RUNNING,
        blocks=True,
        problem="there is no status PICKED any more",
        cure="say what it is now, renamed={'PICKED': STATUS}, or put it back with a step",
    )


def test_a_status_that_has_another_name() -> None:
    assert fine(fewer(PICKED=FewerStatuses.CREATED), picked())


def test_a_status_that_is_renamed_to_an_end() -> None:
    found = only(fewer(PICKED=FewerStatuses.DONE), picked())
    assert found.status == "PICKED"
    assert found.blocks
    assert found.problem.startswith("nothing follows DONE")


def test_a_status_that_nothing_follows_any_more() -> None:
    found = only(orders(), picked())
    assert found.blocks
    assert found.problem == "nothing follows PICKED: a run would stay there and never complete"
    assert found.cure == "declare a step at PICKED, or cancel these runs first"


def test_a_run_that_was_triggered_without_a_status_is_at_the_start() -> None:
    run = record(State.INITIATED, status="", version=1, due_at=NOW)
    assert fine(picking(), run)
    assert only(carrying(int), run).status == "CREATED"


def test_other_destinations_keep_no_run_from_going_on() -> None:
    workflow = orders(start=Status.CREATED)
    workflow.step(Status.PICKED, to=[Status.CREATED, Status.DONE])(nothing)
    assert fine(workflow, picked())


@pytest.mark.parametrize("state", [state for state in State if state not in LIVE])
def test_runs_that_have_ended_may_be_anywhere(state: State) -> None:
    assert fine(fewer(), picked(state=state))


@pytest.mark.parametrize("state", LIVE)
def test_runs_in_progress_may_not(state: State) -> None:
    assert only(fewer(), picked(state=state)).state is state


def test_the_runs_of_the_engine_itself_are_left_alone() -> None:
    assert fine(fewer(), picked(kind="schedule"))


# ---- what it waits for


def with_timeout(name: str) -> Workflow[Any, Any]:
    workflow = orders()
    workflow.timeout(Status.PICKED, after=HOUR, to=Status.DONE, name=name)(nothing)
    return workflow


def test_a_timeout_that_is_still_declared() -> None:
    assert fine(with_timeout("late"), picked(due_at=None, timers=(Timer("late", NOW),)))


def test_a_timeout_that_is_gone_where_a_step_goes_on() -> None:
    found = only(picking(), picked(timers=(Timer("late", NOW),)))
    assert not found.blocks
    assert found.problem == "timeout 'late' waits, and is not declared at PICKED: it will not fire"
    assert "name='late'" in found.cure


def test_a_timeout_that_is_gone_and_was_all_that_led_on() -> None:
    run = picked(due_at=None, timers=(Timer("late", NOW),))
    blocking, lost = problems(with_timeout("later"), run)
    assert blocking.blocks
    assert blocking.problem == "nothing that it waits for is declared at PICKED any more"
    assert not lost.blocks


def test_a_step_in_place_of_what_the_run_waits_for_is_never_due() -> None:
    run = picked(due_at=None, timers=(Timer("late", NOW),))
    assert [found.blocks for found in problems(picking(), run)] == [True, False]


def test_a_timeout_in_place_of_a_step_was_never_set() -> None:
    assert only(with_timeout("late"), picked()).blocks


def test_a_step_that_has_said_that_it_waits_goes_on_waiting() -> None:
    assert fine(picking(), picked(due_at=None, skipped=True))


def test_a_start_that_was_not_entered_is_entered_by_what_is_declared_now() -> None:
    workflow: Workflow[Any, Any] = Workflow("orders", Order, Status)
    workflow.timeout(Status.CREATED, after=HOUR, to=Status.DONE)(nothing)
    assert fine(workflow, record(State.INITIATED, version=1, due_at=NOW))


def answering(name: str, payload: type[Any] = bytes) -> Workflow[Any, Any]:
    workflow = orders()
    workflow.callback(Status.PICKED, to=Status.DONE, name=name, payload=payload)(nothing)
    return workflow


def call(name: str, payload: bytes = b"null", bytes64: str = "") -> Call:
    return Call("c-1", name, NOW, NOW, msgspec.Raw(payload), bytes64)


def test_a_callback_may_come_at_any_time() -> None:
    assert fine(answering("signed"), picked(due_at=None))


@pytest.mark.parametrize("name", ["signed", ""])
def test_an_answer_that_is_still_wanted(name: str) -> None:
    assert fine(answering("signed"), picked(due_at=None, calls=(call(name),)))


def test_an_answer_that_nobody_wants_any_more() -> None:
    found = only(answering("seen"), picked(due_at=None, calls=(call("signed"),)))
    assert found.blocks
    assert found.problem == "an answer to callback 'signed' waits, and there is none such any more"
    assert only(picking(), picked(calls=(call(""),))).blocks


def test_an_answer_may_be_for_a_status_that_is_still_to_come() -> None:
    workflow = picking()
    workflow.callback(Status.CREATED, to=Status.PICKED, name="signed")(nothing)
    assert fine(workflow, picked(calls=(call("signed"),)))


def test_an_answer_that_still_fits() -> None:
    for came in (call("signed", b'{"n":1}'), call("signed", bytes64="eyJuIjoxfQ==")):
        assert fine(answering("signed", Order), picked(due_at=None, calls=(came,)))


@pytest.mark.parametrize("came", [call("signed", b'{"n":"x"}'), call("", bytes64="AAEC")])
def test_an_answer_that_does_not_fit_any_more(came: Call) -> None:
    found = only(answering("signed", Order), picked(due_at=None, calls=(came,)))
    assert found.blocks
    assert "does not fit its payload any more" in found.problem


def test_a_step_that_still_waits_for_the_runs_it_has_started() -> None:
    workflow = orders()
    workflow.step(Status.PICKED, to=Status.DONE, children="any")(nothing)
    assert fine(workflow, picked(due_at=None, waits="all"))


def test_a_step_that_no_longer_waits_for_the_runs_it_has_started() -> None:
    found = only(picking(), picked(due_at=None, waits="all"))
    assert not found.blocks
    assert found.problem == (
        "it waits for runs that it has started, and the step at PICKED no longer does"
    )
    assert found.cure.startswith('say children="all" at the step')


def test_a_status_where_nothing_waits_for_the_runs_it_has_started() -> None:
    run = picked(due_at=None, waits="all")
    assert [found.blocks for found in problems(with_timeout("late"), run)] == [True, False]


def test_what_is_not_told_of_a_run_is_taken_to_be_in_order() -> None:
    assert problems(with_timeout("late"), picked(due_at=None), whole=False) == []
    assert only(with_timeout("late"), picked(due_at=None)).blocks
    waiting = picked(due_at=None, calls=(call("signed"),))
    assert problems(answering("signed", Order), waiting, whole=False) == []


# ---- what it carries


class Item(BaseModel):
    name: str
    price: int


class Basket(BaseModel):
    items: list[Item] = []


def test_an_object_that_does_not_fit_any_more() -> None:
    class Parcel(BaseModel):
        n: int
        weight: int

    found = only(carrying(Parcel), with_object(b'{"n":1}'))
    assert found.blocks
    assert found.problem == "its object does not fit: weight: Field required"
    assert "default" in found.cure


def test_what_is_wrong_in_a_list_is_told_once() -> None:
    found = only(carrying(Basket), with_object(b'{"items":[{"name":"a"},{"name":"b"}]}'))
    assert found.problem == "its object does not fit: items.*.price: Field required"


def test_an_object_that_its_own_type_stumbles_over() -> None:
    class Parcel(BaseModel):
        n: int

        @field_validator("n", mode="before")
        @classmethod
        def stumble(cls, value: Any) -> Any:
            raise KeyError(value)

    found = only(carrying(Parcel), with_object(b'{"n":1}'))
    assert found.blocks
    assert found.problem == "its object can't be read: KeyError: 1"


def test_what_of_an_object_would_be_lost() -> None:
    run = with_object(
        b'{"n":1,"items":[{"name":"a","price":1,"note":"x"},{"name":"b","price":2,"note":"y"}]}'
    )
    found = problems(carrying(Basket), run)
    assert [(one.blocks, one.problem) for one in found] == [
        (False, "its object has n, which no field takes: it will be lost"),
        (False, "its object has items.*.note, which no field takes: it will be lost"),
    ]


def test_what_a_field_reads_under_another_name_is_not_lost() -> None:
    class Parcel(BaseModel):
        number: int = Field(default=0, validation_alias=AliasChoices("number", "n"))

    assert fine(carrying(Parcel), with_object(b'{"n":1}'))


def test_what_a_field_reads_under_another_name_may_be_required() -> None:
    class Parcel(BaseModel):
        number: int = Field(validation_alias="n")

    assert fine(carrying(Parcel), with_object(b'{"n":1}'))


def test_what_a_type_takes_beyond_its_fields_is_not_lost() -> None:
    class Parcel(BaseModel):
        model_config = ConfigDict(extra="allow")

    assert fine(carrying(Parcel), with_object(b'{"n":1}'))


def test_other_types_lose_fields_too() -> None:
    @dataclass
    class Parcel:
        weight: int = 0

    class Letter(TypedDict, total=False):
        weight: int

    for kind in (Parcel, Letter):
        assert not only(carrying(kind), with_object(b'{"n":1}')).blocks
    assert fine(carrying(dict), with_object(b'{"n":1}'))
    assert only(carrying(int), with_object(b'{"n":1}')).blocks


def test_what_is_sealed_is_not_looked_at() -> None:
    sealed = SEALED_JSON + b'x.AAAA"}'
    found = only(carrying(Basket), with_object(sealed))
    assert not found.blocks
    assert found.problem == "its object is sealed, and was not looked at"
    for came in (call("signed", sealed), call("signed", bytes64="streamwf-sealed:1.x.AAAA")):
        assert fine(answering("signed", Order), picked(due_at=None, calls=(came,)))


def test_all_that_is_wrong_is_told() -> None:
    found = problems(fewer(), picked(object=msgspec.Raw(b'{"n":"much"}')))
    assert [one.problem.partition(":")[0] for one in found] == [
        "there is no status PICKED any more",
        "its object does not fit",
    ]
