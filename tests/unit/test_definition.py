"""Definitions: what is refused, all at once and with its cure, and what the engine asks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, computed_field
from typing_extensions import TypedDict

from streamwf import Breaker, Fatal, Rate, Retry, Workflow
from streamwf.errors import InvalidDefinition, InvalidObject, TerminalStart, UnknownStatus

SECOND = timedelta(seconds=1)


class Status(Enum):
    CREATED = "created"
    PICKED = "picked"
    DONE = "done"
    LOST = "lost"


class Other(Enum):
    CREATED = "created"
    DONE = "done"


class Order(BaseModel):
    n: int = 0


def nothing(run: Any) -> Any:
    raise AssertionError("definitions run nothing")


def orders(**options: Any) -> Workflow[Order, Status]:
    return Workflow("orders", Order, Status, **options)


def mistakes(workflow: Workflow[Any, Any]) -> list[str]:
    with pytest.raises(InvalidDefinition) as caught:
        workflow.validate()
    head, *rest = str(caught.value).splitlines()
    assert head == f"The workflow {workflow.name!r} can't run:"
    assert all(line.startswith("- ") for line in rest)
    return [line[2:] for line in rest]


def mistake(workflow: Workflow[Any, Any]) -> str:
    [only] = mistakes(workflow)
    return only


def declare(
    workflow: Workflow[Any, Any],
    kind: str,
    at: Any = Status.CREATED,
    *,
    to: Any = Status.DONE,
    **options: Any,
) -> None:
    """Declare a step, a timeout or a callback."""
    if kind == "step":
        workflow.step(at, to=to, **options)(nothing)
    elif kind == "timeout":
        workflow.timeout(at, after=SECOND, to=to, **options)(nothing)
    else:
        workflow.callback(at, to=to, **options)(nothing)


def test_a_sound_definition() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(nothing)
    workflow.step(Status.PICKED, to=[Status.DONE], on_error=Status.LOST)(nothing)
    workflow.timeout(Status.PICKED, after=SECOND, to=Status.LOST)(nothing)
    workflow.validate()
    assert workflow.start_name == "CREATED"
    assert [s for s in Status.__members__ if workflow.terminal(s)] == ["DONE", "LOST"]
    assert workflow.graph.destinations("PICKED") == ["DONE", "LOST"]


def test_the_decorator_hands_back_the_function() -> None:
    workflow = orders()
    assert workflow.step(Status.CREATED, to=Status.DONE)(nothing) is nothing
    assert workflow.timeout(Status.CREATED, after=SECOND, to=Status.DONE)(nothing) is nothing
    assert workflow.callback(Status.CREATED, to=Status.DONE)(nothing) is nothing
    assert workflow.on_pause(nothing) is nothing


def test_defaults_of_a_step() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    step = workflow.steps["CREATED"]
    assert (step.where, step.retry, step.fatal, step.parallel) == (
        "step at CREATED",
        Retry(),
        (Fatal,),
        100,
    )
    assert step.lag == timedelta(0)
    for option in ("pause_after", "limit", "on_error", "lag_alert", "rate", "priority", "breaker"):
        assert getattr(step, option) is None
    assert step.children is None


# ---- each mistake, with its cure


def test_no_step() -> None:
    assert mistake(orders()) == "it has no step: declare one with @workflow.step(STATUS, to=…)"


@pytest.mark.parametrize("name", ["", "Orders", "my orders", "ünder", "-x", "a" * 101, "a/b"])
def test_name(name: str) -> None:
    workflow = Workflow(name, Order, Status)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert mistake(workflow).startswith(f"name {name!r}: use up to 100 lower-case letters")


def test_two_steps_at_one_status() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert mistake(workflow) == "two steps at CREATED: keep one, or give one another status"


@pytest.mark.parametrize("kind", ["timeout", "callback"])
def test_two_of_one_name(kind: str) -> None:
    workflow = orders()
    declare(workflow, kind)
    declare(workflow, kind)
    assert mistake(workflow) == (
        f"two {kind}s called 'nothing' at CREATED: give one another with name="
    )


@pytest.mark.parametrize("kind", ["timeout", "callback"])
def test_the_same_name_for_a_timeout_and_a_callback_or_at_another_status(kind: str) -> None:
    workflow = orders(start=Status.CREATED)
    declare(workflow, "timeout", to=Status.PICKED)
    declare(workflow, "callback", to=Status.PICKED)
    declare(workflow, kind, Status.PICKED)
    workflow.validate()


@pytest.mark.parametrize("kind", ["timeout", "callback"])
@pytest.mark.parametrize(
    "name", ["two words", "a=b", "a*2", "tab\there", "line\nbreak", "a\u2003b", "x" * 101]
)
def test_a_name_that_can_not_be_packed(kind: str, name: str) -> None:
    workflow = orders()
    declare(workflow, kind, name=name)
    assert mistake(workflow) == (
        f"{kind} name {name!r}: use up to 100 characters, no spaces, no '=' and no '*'"
    )


@pytest.mark.parametrize("kind", ["timeout", "callback"])
def test_a_name_that_can_be_packed(kind: str) -> None:
    workflow = orders()
    declare(workflow, kind, name="Größe/" + "x" * 94)
    workflow.validate()


def test_timeout_at_an_instant_of_no_time_zone() -> None:
    workflow = orders()
    naive = datetime(2030, 1, 1)
    workflow.timeout(Status.CREATED, after=naive, to=Status.DONE)(nothing)
    assert mistake(workflow) == (
        "timeout 'nothing' at CREATED: after=2030-01-01 00:00:00 has no time zone: give it one"
    )


@pytest.mark.parametrize("other", [Other.DONE, "DONE", 3])
def test_destination_of_another_enum(other: Any) -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=[Status.DONE, other])(nothing)
    says = f"step at CREATED: destination {other!r} is no status: use one of Status"
    assert says in mistakes(workflow)


@pytest.mark.parametrize("other", [Other.CREATED, "CREATED"])
def test_step_at_a_status_of_another_enum(other: Any) -> None:
    workflow = orders()
    workflow.step(other, to=Status.DONE)(nothing)
    assert mistake(workflow) == (
        f"step at CREATED: its own {other!r} is no status: use one of Status"
    )


@pytest.mark.parametrize("kind", ["step", "timeout", "callback"])
def test_mistaken_statuses_are_collected_not_stumbled_over(kind: str) -> None:
    workflow: Workflow[Any, Any] = orders()
    for _ in range(2):
        declare(workflow, kind, "CREATED", to=[])
    where = "step" if kind == "step" else f"{kind} 'nothing'"
    found = mistakes(workflow)
    assert f"{where} at CREATED: its own 'CREATED' is no status: use one of Status" in found
    assert f"{where} at CREATED: it leads nowhere: name its statuses in to=" in found


def test_on_error_of_another_enum() -> None:
    workflow = orders()
    other: Any = Other.DONE
    workflow.step(Status.CREATED, to=Status.DONE, on_error=other)(nothing)
    says = f"step at CREATED: on_error {other!r} is no status: use one of Status"
    assert says in mistakes(workflow)


def test_step_that_leads_nowhere() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.PICKED)(nothing)
    workflow.step(Status.PICKED, to=[])(nothing)
    assert mistake(workflow) == "step at PICKED: it leads nowhere: name its statuses in to="


def test_unreachable_status() -> None:
    workflow = orders(start=Status.CREATED)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    workflow.step(Status.PICKED, to=Status.DONE)(nothing)
    assert mistake(workflow) == (
        "PICKED is never reached from CREATED: lead to it, or remove its step"
    )


def test_where_it_starts_is_not_clear() -> None:
    several = orders()
    several.step(Status.CREATED, to=Status.DONE)(nothing)
    several.step(Status.PICKED, to=Status.DONE)(nothing)
    assert mistake(several) == "where does it start? Say start=STATUS (candidates: CREATED, PICKED)"
    ring = orders()
    ring.step(Status.CREATED, to=Status.PICKED)(nothing)
    ring.step(Status.PICKED, to=[Status.CREATED, Status.DONE])(nothing)
    assert "candidates: none, as every status follows another" in mistake(ring)
    told = orders(start=Status.PICKED)
    told.step(Status.CREATED, to=Status.PICKED)(nothing)
    told.step(Status.PICKED, to=[Status.CREATED, Status.DONE])(nothing)
    told.validate()


def test_start_at_the_end() -> None:
    workflow = orders(start=Status.DONE)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert mistake(workflow) == "nothing follows its start DONE: add a step there"


@pytest.mark.parametrize("other", [Other.CREATED, "CREATED"])
def test_start_of_another_enum(other: Any) -> None:
    workflow = orders(start=other)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert mistake(workflow) == f"start {other!r} is no status: use one of Status"


def test_no_end() -> None:
    workflow = orders(start=Status.CREATED)
    workflow.step(Status.CREATED, to=Status.PICKED)(nothing)
    workflow.step(Status.PICKED, to=Status.CREATED)(nothing)
    assert mistake(workflow) == "no status ends it: lead to one that has no step"


def test_two_names_for_one_status() -> None:
    class Twice(IntEnum):
        CREATED = 1
        DONE = 2
        FINISHED = 2

    workflow = Workflow("orders", Order, Twice)
    workflow.step(Twice.CREATED, to=Twice.DONE)(nothing)
    assert mistake(workflow) == "FINISHED is another name of DONE: give it a value of its own"


def test_object_type_that_pydantic_does_not_take() -> None:
    class Unknown:
        pass

    workflow = Workflow("orders", Unknown, Status)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert mistake(workflow).startswith(f"object type {Unknown!r}: Unable to generate")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"parallel": 0}, "parallel needs to be 1 or more"),
        ({"pause_after": 0}, "pause_after needs to be 1 or more"),
        ({"timeout": timedelta(0)}, "timeout needs to be longer than nothing"),
        ({"lag": timedelta(seconds=-1)}, "lag needs to be nothing or longer"),
        ({"lag_alert": timedelta(0)}, "lag_alert needs to be longer than nothing"),
        ({"retry": Retry(attempts=0)}, "retry needs attempts >= 1, or None for ever"),
        ({"rate": Rate(0)}, "rate needs 1 or more runs"),
        ({"breaker": Breaker(failures=0)}, "breaker needs 1 or more failures"),
        ({"children": "some"}, """children is 'some': use "all", "any" or "each\""""),
        (
            {"children": "all", "lag": SECOND},
            "it runs when its children have ended, whatever its lag: leave lag out",
        ),
        ({"fatal": ["KeyError"]}, "fatal lists 'KeyError': list types of exceptions"),
        ({"fatal": [KeyError()]}, "fatal lists KeyError(): list types of exceptions"),
        (
            {"on_error": Status.CREATED},
            "on_error leads back to it for ever: name another status",
        ),
    ],
)
def test_option_of_a_step_that_can_not_be(option: dict[str, Any], says: str) -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE, **option)(nothing)
    assert mistake(workflow) == f"step at CREATED: {says}"


@pytest.mark.parametrize(
    "option",
    [
        {"parallel": 1, "pause_after": 1, "lag": timedelta(0), "rate": Rate(1)},
        {"lag": SECOND, "lag_alert": SECOND, "timeout": SECOND, "breaker": Breaker()},
        {"children": "each", "fatal": KeyError},
        {"children": "any", "fatal": [KeyError, ValueError]},
    ],
)
def test_options_of_a_step_that_can_be(option: dict[str, Any]) -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE, **option)(nothing)
    workflow.validate()


@pytest.mark.parametrize("kind", ["timeout", "callback"])
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"timeout": timedelta(0)}, "timeout needs to be longer than nothing"),
        ({"retry": Retry(factor=0)}, "retry needs factor >= 1"),
    ],
)
def test_option_of_another_handler_out_of_range(
    kind: str, option: dict[str, Any], says: str
) -> None:
    workflow = orders()
    declare(workflow, kind, **option)
    assert mistake(workflow) == f"{kind} 'nothing' at CREATED: {says}"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"auto_resume": timedelta(0)}, "auto_resume is 0:00:00: give a time to come, or None"),
        (
            {"retention": timedelta(seconds=-1)},
            "retention is -1 day, 23:59:59: give a time to come, or None",
        ),
        (
            {"renamed": {"PICKED": Status.DONE}},
            "renamed: PICKED is still a status: leave it out",
        ),
        (
            {"renamed": {"OLD": "DONE"}},
            "renamed: what 'OLD' is now, 'DONE' is no status: use one of Status",
        ),
    ],
)
def test_option_of_the_workflow_that_can_not_be(option: dict[str, Any], says: str) -> None:
    workflow = orders(**option)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert mistake(workflow) == says


@pytest.mark.parametrize(
    "option",
    [
        {"auto_resume": None, "retention": timedelta(0)},
        {"retention": None, "renamed": {"OLD": Status.DONE, "OLDER": Status.DONE}},
    ],
)
def test_options_of_the_workflow_that_can_be(option: dict[str, Any]) -> None:
    workflow = orders(**option)
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    workflow.validate()


def test_a_payload_that_pydantic_does_not_take_is_one_mistake_of_all() -> None:
    class Unknown:
        pass

    workflow = orders()
    workflow.callback(Status.CREATED, to=Status.CREATED, payload=Unknown)(nothing)
    first, second = mistakes(workflow)
    assert first.startswith(f"callback 'nothing' at CREATED: payload {Unknown!r}: Unable to")
    assert second == "no status ends it: lead to one that has no step"


def test_two_hooks_for_one_change() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert workflow.on_complete(nothing) is nothing
    workflow.on_cancel(nothing)
    workflow.validate()
    workflow.on_complete(nothing)
    assert mistake(workflow) == "two hooks on_complete: keep one"


def test_unknown_option() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'retries'"):
        orders().step(Status.CREATED, to=Status.DONE, retries=3)


def test_all_mistakes_at_once_and_each_once() -> None:
    workflow: Workflow[Any, Any] = Workflow("My Orders", Order, Status)
    workflow.step(Status.CREATED, to=Other.DONE, parallel=0)(nothing)
    workflow.step(Status.CREATED, to=Status.DONE, parallel=0)(nothing)
    workflow.step(Status.PICKED, to=Status.DONE, pause_after=0)(nothing)
    found = mistakes(workflow)
    assert len(found) == len(set(found)) == 6
    assert mistakes(workflow) == found, "looking twice says the same"


# ---- statuses of any enum


class Number(IntEnum):
    ZERO = 0
    ONE = 1


class Text(StrEnum):
    NONE = ""
    SOME = "some"


@pytest.mark.parametrize(
    ("start", "end"), [(Number.ZERO, Number.ONE), (Text.NONE, Text.SOME)], ids=str
)
def test_a_status_that_is_false(start: Any, end: Any) -> None:
    workflow: Workflow[Order, Any] = Workflow("orders", Order, type(start), start=start)
    workflow.step(start, to=end, on_error=end)(nothing)
    workflow.validate()
    assert workflow.start_name == start.name
    assert workflow.check_start("") is start


def test_start_is_checked_against_the_definition() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert workflow.check_start("CREATED") is Status.CREATED
    with pytest.raises(UnknownStatus, match="no status 'NOPE'; it has: CREATED, PICKED, DONE"):
        workflow.check_start("NOPE")
    with pytest.raises(TerminalStart, match="can't start at 'DONE'"):
        workflow.check_start("DONE")


def test_mermaid() -> None:
    workflow = orders()
    workflow.step(Status.CREATED, to=Status.DONE)(nothing)
    assert workflow.mermaid("RL") == workflow.graph.mermaid("CREATED", "RL")


# ---- objects


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    at: datetime
    price: Decimal
    id: UUID


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")

    order_id: int = Field(alias="orderId")
    read: int = Field(default=0, validation_alias="readAs")
    written: int = Field(default=0, serialization_alias="writtenAs")

    @computed_field
    @property
    def double(self) -> int:
        return 2 * self.order_id


@dataclass
class Plain:
    n: int
    at: datetime


class Typed(TypedDict):
    n: int


OBJECTS: list[tuple[Any, Any]] = [
    (Order, Order(n=3)),
    (Strict, Strict(at=datetime(2030, 1, 1, tzinfo=UTC), price=Decimal("1.10"), id=UUID(int=1))),
    (Aliased, Aliased(orderId=7, readAs=1, written=2)),
    (Plain, Plain(1, datetime(2030, 1, 1, tzinfo=UTC))),
    (Typed, {"n": 1}),
    (dict, {"a": [1, None, "x"], "big": 10**40}),
    (list[int], [1, 2]),
    (str, "text"),
    (type(None), None),
]


@pytest.mark.parametrize(
    ("kind", "value"), OBJECTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_an_object_is_read_as_it_was_written(kind: Any, value: Any) -> None:
    workflow: Workflow[Any, Status] = Workflow("orders", kind, Status)
    stored = workflow.dump(value)
    assert workflow.load(stored) == value
    assert workflow.dump(workflow.load(stored)) == stored
    assert workflow.dump_checked(workflow.plain(value)) == stored


def test_others_may_write_aliases() -> None:
    workflow = Workflow("orders", Aliased, Status)
    assert workflow.load(b'{"orderId":7,"readAs":1}') == Aliased(orderId=7, readAs=1)


def test_an_object_that_does_not_fit_names_each_field() -> None:
    workflow = Workflow("orders", Plain, Status)
    with pytest.raises(InvalidObject) as caught:
        workflow.load(b'{"n":"x","at":[]}')
    assert [item["field"] for item in caught.value.errors] == ["n", "at"]
    assert "n: Input should be a valid integer" in str(caught.value)
    with pytest.raises(InvalidObject, match="object: Invalid JSON"):
        workflow.load(b"{")


@pytest.mark.parametrize("wrong", [{"n": "x"}, {"n": object()}, None, "\ud800"])
def test_data_that_does_not_fit(wrong: Any) -> None:
    workflow = Workflow("orders", Order, Status)
    with pytest.raises(InvalidObject):
        workflow.dump_checked(wrong)


def test_an_object_that_json_can_not_hold() -> None:
    workflow: Workflow[dict[str, Any], Status] = Workflow("orders", dict, Status)
    with pytest.raises(InvalidObject, match="Unable to serialize unknown type"):
        workflow.plain({"x": object()})
