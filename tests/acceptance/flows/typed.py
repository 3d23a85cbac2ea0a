"""1 workflow: statuses of any enum, objects of any type that pydantic takes."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum, auto
from typing import Any

from pydantic import BaseModel
from typing_extensions import TypedDict

from streamwf import Run, Workflow


class Plain(Enum):
    BEGUN = "it has begun"
    ENDED = "it has ended"


class Number(IntEnum):
    BEGUN = 0
    ENDED = 1


class Text(StrEnum):
    BEGUN = auto()
    ENDED = auto()


class Model(BaseModel):
    price: Decimal
    at: datetime
    tags: set[str] = set()


@dataclass
class Data:
    price: Decimal
    at: datetime
    tags: set[str] = field(default_factory=set)


class Typed(TypedDict):
    price: Decimal
    at: datetime
    tags: set[str]


AT = datetime(2030, 1, 2, 3, 4, 5, 678_901, UTC)

of_models = Workflow("of-models", Model, Plain)
of_dataclasses = Workflow("of-dataclasses", Data, Number)
of_typed_dicts = Workflow("of-typed-dicts", Typed, Text)
of_dicts = Workflow("of-dicts", dict[str, Any], Plain)


@of_models.step(Plain.BEGUN, to=Plain.ENDED)
async def with_model(run: Run[Model, Plain]) -> Plain:
    run.object.price *= 2
    run.object.tags.add("model")
    return Plain.ENDED


@of_dataclasses.step(Number.BEGUN, to=Number.ENDED)
async def with_dataclass(run: Run[Data, Number]) -> Number:
    run.object.price *= 2
    run.object.tags.add("dataclass")
    return Number.ENDED


@of_typed_dicts.step(Text.BEGUN, to=Text.ENDED)
async def with_typed_dict(run: Run[Typed, Text]) -> Text:
    run.object["price"] *= 2
    run.object["tags"].add("TypedDict")
    return Text.ENDED


@of_dicts.step(Plain.BEGUN, to=Plain.ENDED)
async def with_dict(run: Run[dict[str, Any], Plain]) -> Plain:
    run.object["price"] *= 2
    run.object["tags"].append("dict")
    return Plain.ENDED
