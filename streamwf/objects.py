"""The objects that runs carry: from JSON and back, checked by their type."""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from .errors import InvalidObject

ObjectT = TypeVar("ObjectT")

#: How sealed JSON and sealed text begin, up to the version of what follows; vault.py seals and
#: opens them.
SEALED_JSON = b'{"streamwf-sealed":"1.'
SEALED_TEXT = "streamwf-sealed:1."

#: What follows then if the payload has keys of its own, and not its run's.
OWN_KEY = "~"


def is_sealed(data: msgspec.Raw) -> bool:
    return memoryview(data)[: len(SEALED_JSON)] == SEALED_JSON


def has_own_key(data: msgspec.Raw | UnsetType, text: str) -> bool:
    """Whether the payload of a callback, in JSON or as text, is sealed under keys of its own."""
    if text.startswith(SEALED_TEXT + OWN_KEY):
        return True
    own = SEALED_JSON + OWN_KEY.encode()
    return data is not UNSET and memoryview(data)[: len(own)] == own


class Objects(Generic[ObjectT]):
    """Reads and writes the objects of one workflow. Raises what pydantic says of the type."""

    def __init__(self, workflow: str, object_type: type[ObjectT]) -> None:
        self._workflow = workflow
        self.adapter: TypeAdapter[ObjectT] = TypeAdapter(object_type)

    def load(self, data: bytes) -> ObjectT:
        """An object from its JSON. Raises InvalidObject, naming the fields that are wrong."""
        if data.startswith(SEALED_JSON):
            raise unsealed(self._workflow)
        try:
            # Stored under the names of its fields; others may write their aliases.
            return self.adapter.validate_json(data, by_alias=True, by_name=True)
        except ValidationError as error:
            raise invalid(self._workflow, error) from error

    def dump(self, value: ObjectT) -> bytes:
        """The JSON of an object, as it will be read again. It may turn out not to fit."""
        return self.adapter.dump_json(value, round_trip=True, warnings=False)

    def plain(self, value: ObjectT) -> Any:
        """An object as plain data that JSON can hold. Raises InvalidObject."""
        try:
            return self.adapter.dump_python(value, mode="json", round_trip=True, warnings=False)
        except PydanticSerializationError as error:
            raise untold(self._workflow, error) from error

    def dump_checked(self, value: Any) -> bytes:
        """The JSON of an object, given as plain data that JSON can hold. Raises InvalidObject."""
        try:
            return self.dump(self.load(to_json(value)))
        except PydanticSerializationError as error:
            raise untold(self._workflow, error) from error


def unsealed(workflow: str) -> InvalidObject:
    why = "it is sealed; declare the workflow with encrypt=True, as it was"
    fields = [{"field": "object", "message": why}]
    return InvalidObject(workflow=workflow, detail=why, errors=fields)


def untold(workflow: str, error: PydanticSerializationError) -> InvalidObject:
    fields = [{"field": "object", "message": str(error)}]
    return InvalidObject(workflow=workflow, detail=str(error), errors=fields)


def invalid(workflow: str, error: ValidationError) -> InvalidObject:
    """What does not fit, without what was given: that may be nobody's business."""
    fields = [
        {"field": ".".join(map(str, item["loc"])) or "object", "message": item["msg"]}
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in fields)
    return InvalidObject(workflow=workflow, detail=detail, errors=fields)
