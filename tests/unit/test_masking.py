"""Masked fields of every kind of type: stored whole, and told by nothing else."""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from types import SimpleNamespace
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    SecretStr,
    TypeAdapter,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from streamwf import Masked, Retry, Run, Workflow
from streamwf.errors import InvalidDefinition, InvalidObject, ObjectUnreadable
from streamwf.failures import Failures
from streamwf.masking import Masking
from streamwf.objects import Objects
from streamwf.record import Call, Record, State
from streamwf.redaction import MASK, UNTOLD, Redaction
from tests.support import NOW, SteppedClock

SECRET = "4111-2222-3333"
Secret = Annotated[str, Masked]


class Colour(StrEnum):
    RED = "crimson-red"


class Card(BaseModel):
    number: Secret
    brand: str = "visa"


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"
    amount: int = 1


class Tagged(BaseModel):
    kind: Literal["card"] = "card"
    number: Secret


class Plain(BaseModel):
    name: str
    inner: "list[Plain]" = []


class Tree(BaseModel):
    number: Secret
    branches: "list[Tree]" = []


@dataclass
class Data:
    number: Secret
    card: Card
    n: int = 1


class Dict(TypedDict):
    number: Secret
    n: int


class Tuple(NamedTuple):
    n: int
    number: Secret


class Lazy(BaseModel):
    model_config = ConfigDict(defer_build=True)
    number: Secret


class Strict(BaseModel):
    """What JSON has no type for is strict about how it is read."""

    model_config = ConfigDict(strict=True)
    day: Annotated[datetime, Masked]
    data: Annotated[bytes, Masked]
    many: Annotated[set[int], Masked]
    amount: Annotated[Decimal, Masked]


class Named(BaseModel):
    number: Secret = Field(alias="cardNumber", min_length=3, pattern=r"^\d")
    count: Annotated[int, Masked] = Field(default=1, gt=0, strict=True)


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Secret]
    n: int = 1


class Wrapped(BaseModel):
    number: Annotated[SecretStr, PlainSerializer(SecretStr.get_secret_value), Masked]


class Through(BaseModel):
    card: Card

    @model_serializer(mode="wrap")
    def _written(self, handler: Callable[[Any], Any]) -> Any:
        return handler(self)


def model(kind: Any) -> type[BaseModel]:
    """A type whose only field is of a kind."""
    return type("Carried", (BaseModel,), {"__annotations__": {"it": kind}})


MASKED: list[tuple[Any, Any, Any]] = [
    (Card, {"number": SECRET}, {"number": MASK, "brand": "visa"}),
    (Data, {"number": "1", "card": {"number": "2"}}, None),
    (Dict, {"number": SECRET, "n": 1}, {"number": MASK, "n": 1}),
    (Tuple, [1, SECRET], [1, MASK]),
    (Lazy, {"number": SECRET}, {"number": MASK}),
    (Secret, SECRET, MASK),
    (RootModel[Secret], SECRET, MASK),
    (Tree, {"number": "1", "branches": [{"number": "2", "branches": []}]}, None),
    (Through, {"card": {"number": SECRET}}, {"card": {"number": MASK, "brand": "visa"}}),
    (Extra, {"n": 1, "token": SECRET}, {"n": 1, "token": MASK}),
    (Wrapped, {"number": SECRET}, {"number": MASK}),
    (Named, {"cardNumber": "4111", "count": 3}, {"number": MASK, "count": MASK}),
    (
        Strict,
        {"day": "2030-01-01T00:00:00", "data": "x", "many": [1], "amount": "1.20"},
        {"day": MASK, "data": MASK, "many": MASK, "amount": MASK},
    ),
    (model(Annotated[int, Masked]), {"it": 7}, {"it": MASK}),
    (model(Annotated[bool, Masked]), {"it": True}, {"it": MASK}),
    (model(Annotated[int | None, Masked]), {"it": None}, {"it": MASK}),
    (model(Secret | None), {"it": SECRET}, {"it": MASK}),
    (model(Secret | None), {"it": None}, {"it": None}),
    (model(int | Secret), {"it": SECRET}, {"it": MASK}),
    (model(int | Secret), {"it": 7}, {"it": 7}),
    (model(Cash | Card), {"it": {"number": SECRET}}, {"it": {"number": MASK, "brand": "visa"}}),
    (
        model(Annotated[Cash | Tagged, Field(discriminator="kind")]),
        {"it": {"kind": "card", "number": SECRET}},
        {"it": {"kind": "card", "number": MASK}},
    ),
    (model(list[Secret]), {"it": [SECRET, "b"]}, {"it": [MASK, MASK]}),
    (model(Annotated[list[str], Masked]), {"it": [SECRET]}, {"it": MASK}),
    (model(dict[str, Secret]), {"it": {"a": SECRET}}, {"it": {"a": MASK}}),
    (model(dict[Secret, int]), {"it": {SECRET: 1}}, {"it": {MASK: 1}}),
    (model(tuple[int, Secret]), {"it": [1, SECRET]}, {"it": [1, MASK]}),
    (model(Annotated[Colour, Masked]), {"it": "crimson-red"}, {"it": MASK}),
    (model(Annotated[Any, Masked]), {"it": {"a": [SECRET]}}, {"it": MASK}),
    (
        model(Annotated[Plain, Masked] | Card),
        {"it": {"name": SECRET, "inner": [{"name": "2", "inner": []}]}},
        {"it": MASK},
    ),
]


@pytest.mark.parametrize(("kind", "data", "shown"), MASKED)
def test_what_is_masked_is_stored_and_not_shown(kind: Any, data: Any, shown: Any) -> None:
    objects = Objects[Any]("w", kind)
    stored = objects.dump_checked(data)
    redaction = Redaction()
    view = objects.masked(stored, redaction)

    assert objects.masks
    assert objects.masking.shown == []
    assert objects.dump(objects.load(stored)) == stored
    assert MASK.encode() not in stored
    assert (SECRET in json.dumps(data)) is (SECRET in stored.decode())
    assert SECRET not in json.dumps(view)
    assert shown in (None, view)
    assert SECRET not in redaction.of(f"it is {SECRET}.") or SECRET.encode() not in stored


def test_all_levels_of_a_type_that_holds_itself_are_masked() -> None:
    objects = Objects("w", Tree)
    view = objects.masked(b'{"number":"11","branches":[{"number":"22","branches":[]}]}')
    assert view == {"number": MASK, "branches": [{"number": MASK, "branches": []}]}


@pytest.mark.parametrize("kind", [Card, Data, Dict, Tree, Lazy, model(Card), model(list[Card])])
def test_the_names_of_masked_fields_are_known(kind: Any) -> None:
    assert Objects[Any]("w", kind).masking.names == {"number"}


def test_of_a_value_that_is_masked_as_a_whole_all_is() -> None:
    redaction = Objects[Any]("w", Secret).redaction(json.dumps([SECRET]).encode())
    assert redaction.of(SECRET) == MASK


def test_one_field_of_a_type_is_masked_and_another_of_the_same_is_not() -> None:
    class Two(BaseModel):
        hidden: Annotated[Plain, Masked]
        open: Plain

    inner = {"name": "n", "inner": []}
    objects = Objects("w", Two)
    told = objects.masked(json.dumps({"hidden": inner, "open": inner}).encode())
    assert told == {"hidden": MASK, "open": inner}
    assert objects.masking.names == {"hidden"}


@pytest.mark.parametrize("kind", [Plain, Cash, dict[str, Any], list[int], model(Colour)])
def test_a_type_without_masked_fields_is_as_before(kind: Any) -> None:
    seen: list[Any] = []
    objects = Objects[Any]("w", kind)
    adapter = objects.adapter

    class Spy:
        def to_json(self, value: Any, **options: Any) -> bytes:
            seen.append(options["context"])
            return adapter.dump_json(value, **options)

    assert not objects.masks
    objects.adapter = SimpleNamespace(serializer=Spy())  # type: ignore[assignment]
    objects.dump(Plain(name="x"))
    assert seen == [None]


def test_the_schema_that_others_are_told_is_as_without_the_mark() -> None:
    class Unmarked(BaseModel):
        number: str
        brand: str = "visa"

    for mode in ("validation", "serialization"):
        [marked, plain] = [kind.model_json_schema(mode=mode) for kind in (Card, Unmarked)]
        assert marked["properties"]["number"] == plain["properties"]["number"]


# ---- what can't be read


def test_of_an_object_that_does_not_fit_nothing_is_shown() -> None:
    objects = Objects("w", Card)
    for data in (b'{"number": 5}', b'{"numbr":"4111-2222-3333"}', b"[", b'"4111-2222-3333"'):
        assert objects.masked(data) == MASK
    assert objects.masked(b"null") is None


def test_of_a_type_that_can_not_be_written_nothing_is_shown() -> None:
    class Broken(BaseModel):
        number: Secret

        @model_serializer(mode="wrap")
        def _written(self, handler: Callable[[Any], Any]) -> Any:
            raise RuntimeError(self.number)

    assert Objects("w", Broken).masked(b'{"number":"4111-2222-3333"}') == MASK


def refuse(value: Any) -> Any:
    raise ValueError(f"{value} is no good")


def fail(value: Any) -> Any:
    raise KeyError(value)


def custom(value: Any) -> Any:
    raise PydanticCustomError("not_mine", "not {it}", {"it": value})


class Around(BaseModel):
    """Its validators say what they have seen."""

    number: Secret
    n: int = 0

    @model_validator(mode="after")
    def _whole(self) -> "Around":
        raise ValueError(f"not {self.number}")


class Beside(BaseModel):
    number: Secret
    name: str

    @field_validator("name")
    @classmethod
    def _name(cls, name: str, info: Any) -> str:
        raise ValueError(f"{name} does not own {info.data['number']}")


WRONG: list[tuple[Any, Any, list[tuple[str, str]]]] = [
    (Card, {"number": 4111222, "brand": 3}, [("number", "string_type"), ("brand", "valid string")]),
    (Card, {}, [("number", "Field required")]),
    (
        model(Annotated[str, AfterValidator(refuse), Masked]),
        {"it": SECRET},
        [("it", "value_error")],
    ),
    (model(Annotated[str, BeforeValidator(custom), Masked]), {"it": SECRET}, [("it", "not_mine")]),
    (Around, {"number": SECRET}, [("object", "value_error")]),
    (model(Around), {"it": {"number": SECRET}}, [("it", "value_error")]),
    (Beside, {"number": SECRET, "name": "ann"}, [("name", f"ann does not own {MASK}")]),
    (model(dict[Secret, int]), {"it": {SECRET: "x"}}, [("it", "int_parsing")]),
    (model(Annotated[dict[str, int], Masked]), {"it": {SECRET: "x"}}, [("it", "int_parsing")]),
    (Secret, 4111222, [("object", "string_type")]),
    (model(list[Card]), {"it": [{"number": 1}]}, [("it.0.number", "string_type")]),
    (Named, {"cardNumber": 4111222}, [("cardNumber", "string_type")]),
]


@pytest.mark.parametrize(("kind", "data", "details"), WRONG)
def test_what_does_not_fit_is_said_without_what_is_masked(
    kind: Any, data: Any, details: list[tuple[str, str]]
) -> None:
    with pytest.raises(InvalidObject) as caught:
        Objects[Any]("w", kind).dump_checked(data)

    assert [each["field"] for each in caught.value.errors] == [field for field, _ in details]
    for each, (_, message) in zip(caught.value.errors, details, strict=True):
        assert message in each["message"]
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.fields)
    assert SECRET not in told
    assert "4111" not in told


def test_what_a_validator_fails_with_is_said_without_what_is_masked() -> None:
    kind = model(Annotated[str, AfterValidator(fail), Masked])
    with pytest.raises(ObjectUnreadable, match=r"KeyError in\sfail, line ") as caught:
        Objects[Any]("w", kind).load(json.dumps({"it": SECRET}).encode())
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_what_can_not_be_written_is_said_without_what_is_masked() -> None:
    class Odd(BaseModel):
        number: Secret
        other: Any = None

        @field_serializer("other")
        def _other(self, other: Any) -> Any:
            if other == 1:
                raise ValueError(f"{self.number}: {other}")
            return other

    objects = Objects("w", Odd)
    for write in (objects.plain, objects.dump):
        with pytest.raises(InvalidObject, match="it can't be written") as caught:
            write(Odd(number=SECRET, other=1))
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        with pytest.raises(InvalidObject, match="Unable to serialize unknown type: <class 'object"):
            write(Odd(number=SECRET, other=object()))


def test_a_mask_is_not_stored_as_if_it_were_the_value() -> None:
    objects = Objects("w", Card)
    for write in (
        lambda: objects.dump_checked({"number": MASK}),
        lambda: objects.plain(Card(number=MASK)),
        lambda: objects.dump(Card(number=MASK)),
    ):
        with pytest.raises(InvalidObject, match="give the value itself"):
            write()
    assert objects.dump_checked({"number": "1", "brand": MASK})


# ---- definitions


class Overwritten(BaseModel):
    number: Secret

    @field_serializer("number")
    def _written(self, number: str) -> str:
        return number.upper()


class Flat(BaseModel):
    number: Secret

    @model_serializer
    def _written(self) -> dict[str, str]:
        return {"number": self.number}


class TooEarly(BaseModel):
    number: Annotated[str, Masked, PlainSerializer(lambda number: number)]


class Chained(BaseModel):
    number: Annotated[int | str, Masked, Field(pattern="x.*")]


class Status(Enum):
    NEW = 1
    DONE = 2


def workflow(kind: Any, **options: Any) -> Workflow[Any, Status]:
    made: Workflow[Any, Status] = Workflow("w", kind, Status, **options)

    @made.step(Status.NEW, to=Status.DONE)
    async def go(run: Run[Any, Status]) -> Status:
        return Status.DONE

    return made


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (Overwritten, "field number"),
        (model(list[Overwritten]), "field number"),
        (Flat, "the object"),
        (model(Flat), "field it"),
        (TooEarly, "field number"),
        (Chained, "field number"),
    ],
)
def test_a_serializer_that_would_show_a_masked_field_is_a_mistake(kind: Any, where: str) -> None:
    with pytest.raises(InvalidDefinition, match=f"{where} is masked, and has a serializer that"):
        workflow(kind).validate()


def test_so_is_one_of_what_a_callback_takes() -> None:
    made = workflow(Plain)

    @made.callback(Status.NEW, to=Status.DONE, payload=Overwritten)
    async def answer(run: Run[Any, Status], told: Overwritten) -> Status:
        return Status.DONE

    with pytest.raises(InvalidDefinition, match="'answer' at NEW: payload: field number is masked"):
        made.validate()


class Shop(BaseModel):
    card: Card
    hidden: Annotated[Plain, Masked]
    tags: list[Secret]
    owners: dict[str, Card]
    plain: Plain
    number: int = 0


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("card.number", True),
        ("hidden", True),
        ("hidden.name", True),
        ("tags", True),
        ("owners.number", True),
        ("card.brand", False),
        ("card", False),
        ("plain.name", False),
        ("plain.inner.name", False),
        ("number", False),
        ("nothing", False),
    ],
)
def test_search_can_not_name_a_masked_field(path: str, masked: bool) -> None:
    assert Masking(TypeAdapter(Shop)).covers(path) is masked
    made = workflow(Shop, search=("card.brand", path))
    if masked:
        with pytest.raises(InvalidDefinition, match=f"search '{path}' names a masked field"):
            made.validate()
    else:
        made.validate()


# ---- events


def record(data: bytes, **fields: Any) -> Record:
    return Record(
        foreign_id="o-1",
        run_id="run-1",
        status="NEW",
        state=State.RUNNING,
        version=3,
        object=msgspec.Raw(data),
        created_at=NOW,
        updated_at=NOW,
        **fields,
    )


def failures(made: Workflow[Any, Status]) -> Failures[Any, Status]:
    return Failures(made, SteppedClock(), 1_000_000, lambda: 0.5)


def test_a_workflow_without_masked_fields_looks_for_none() -> None:
    assert failures(workflow(Plain)).redaction(record(b'{"name":"n"}')) is None


def test_the_error_of_an_object_that_does_not_fit_is_told_whatever_else_is_unknown() -> None:
    results = failures(workflow(Card))
    step = results.workflow.steps["NEW"]
    now = record(b'{"number":"4111-2222-3333"}')
    redaction = results.workflow.objects.redaction(bytes(now.object))
    redaction.unknown = True
    misfit = InvalidObject(workflow="w", detail="number: it does not fit (x)", errors=[])

    def again() -> Any:
        raise AssertionError

    for error, said in ((misfit, "it does not fit (x)"), (ValueError("?"), UNTOLD)):
        event = results.failed(now, step, error, again, redaction)
        assert said in event.errormessage


def test_what_a_callback_has_brought_is_masked_by_the_names_of_fields() -> None:
    made = workflow(Card)

    @made.callback(Status.NEW, to=Status.DONE, payload=dict, retry=Retry(attempts=2))
    async def answer(run: Run[Any, Status], told: Any) -> Status:
        return Status.DONE

    call = Call(
        "c-1", "answer", NOW, NOW + timedelta(hours=1), msgspec.Raw(b'{"x":[{"number":"9-8-7-6"}]}')
    )
    now = record(b'{"number":"4111-2222-3333"}', calls=(call,))
    error = ValueError(f"9-8-7-6 and {SECRET}")
    event = failures(made).call_failed(now, call, made.callbacks["NEW"]["answer"], error)
    assert event.errormessage == f"{MASK} and {MASK}"
    assert "9-8-7-6" not in event.errortrace
