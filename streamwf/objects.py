"""The objects that runs carry: from JSON and back, checked by their type."""

import re
import traceback
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from .errors import InvalidObject, ObjectUnreadable
from .masking import MASK_GIVEN, Masking, context_of, details, no_mask
from .redaction import MASK, Redaction

ObjectT = TypeVar("ObjectT")

#: How sealed JSON and sealed text begin, up to the version of what follows; vault.py seals and
#: opens them.
SEALED_JSON = b'{"streamwf-sealed":"1.'
SEALED_TEXT = "streamwf-sealed:1."

_NULL = b"null"

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
    """Reads and writes the objects of one workflow. Raises what pydantic says of the type.

    masks: whether the type has masked fields. Nothing that is raised tells their values then.
    """

    def __init__(self, workflow: str, object_type: type[ObjectT]) -> None:
        self._workflow = workflow
        self.adapter: TypeAdapter[ObjectT] = TypeAdapter(object_type)
        self.masking = Masking(self.adapter)
        self.masks = self.masking.masks
        self._context = context_of(no_mask) if self.masks else None

    def load(self, data: bytes) -> ObjectT:
        """An object from its JSON. Raises InvalidObject, naming the fields that are wrong."""
        if data.startswith(SEALED_JSON):
            raise unsealed(self._workflow)
        try:
            # Stored under the names of its fields; others may write their aliases.
            # Not by the adapter's own methods: they hand on a dozen arguments, a third of the time.
            return cast(
                "ObjectT",
                self.adapter.validator.validate_json(data, by_alias=True, by_name=True),
            )
        except ValidationError as error:
            if self.masks:
                raise misfit(self._workflow, self.masking.details(error, "object", data)) from None
            raise misfit(self._workflow, details(error, "object")) from error
        except Exception as error:
            if self.masks:
                raise _unreadable(self._workflow, error) from None
            raise

    def dump(self, value: ObjectT) -> bytes:
        """The JSON of an object, as it will be read again. It may turn out not to fit."""
        try:
            return self.adapter.serializer.to_json(
                value, round_trip=True, warnings=False, context=self._context
            )
        except PydanticSerializationError as error:
            if self.masks:
                raise _unwritten(self._workflow, error) from None
            raise

    def plain(self, value: ObjectT) -> Any:
        """An object as plain data that JSON can hold. Raises InvalidObject."""
        try:
            return self.adapter.dump_python(
                value, mode="json", round_trip=True, warnings=False, context=self._context
            )
        except PydanticSerializationError as error:
            if self.masks:
                raise _unwritten(self._workflow, error) from None
            raise untold(self._workflow, error) from error

    def dump_checked(self, value: Any) -> bytes:
        """The JSON of an object, given as plain data that JSON can hold. Raises InvalidObject."""
        try:
            return self.dump(self.load(to_json(value)))
        except PydanticSerializationError as error:
            raise untold(self._workflow, error) from error

    # ---- what is masked

    def masked(self, data: bytes, redaction: Redaction | None = None) -> Any:
        """An object as plain data, without the values of masked fields; the redaction takes them.

        If it can't be read, nobody knows what is to be masked, and nothing of it is told.
        """
        redaction = redaction or Redaction()
        if data == _NULL:
            return None
        try:
            return self.masking.masked(self.load(data), redaction)
        except Exception:  # The validators of users' types may raise anything.
            self.masking.guess(data, redaction)
            return MASK

    def redaction(self, data: bytes, *changed: Any) -> Redaction:
        """What takes the values of masked fields out of texts: of an object as it is stored, and as
        functions have left it."""
        redaction = Redaction()
        self.masked(data, redaction)
        for value in changed:
            try:
                self.masking.masked(value, redaction)
                # What is not of the type is not looked through; what becomes of it may be.
                self.masked(
                    self.adapter.dump_json(value, round_trip=True, warnings=False), redaction
                )
            except Exception:
                redaction.unknown = True
        return redaction


def unsealed(workflow: str) -> InvalidObject:
    why = "it is sealed; declare the workflow with encrypt=True, as it was"
    fields = [{"field": "object", "message": why}]
    return InvalidObject(workflow=workflow, detail=why, errors=fields)


def untold(workflow: str, error: PydanticSerializationError) -> InvalidObject:
    return misfit(workflow, [{"field": "object", "message": str(error)}])


def misfit(workflow: str, wrong: list[dict[str, str]]) -> InvalidObject:
    """What does not fit, without what was given: that may be nobody's business."""
    detail = "; ".join(f"{item['field']}: {item['message']}" for item in wrong)
    return InvalidObject(workflow=workflow, detail=detail, errors=wrong)


def _unwritten(workflow: str, error: PydanticSerializationError) -> InvalidObject:
    """As much of the error as tells nothing of masked fields."""
    told = str(error)
    unknown = re.search(r"Unable to serialize unknown type: <class '[^']*'>", told)
    why = MASK_GIVEN if MASK_GIVEN in told else unknown[0] if unknown else "it can't be written"
    return misfit(workflow, [{"field": "object", "message": why}])


def _unreadable(workflow: str, error: Exception) -> ObjectUnreadable:
    """The same of what is no verdict of the type, but a fault of it."""
    [*_, frame] = traceback.extract_tb(error.__traceback__)
    return ObjectUnreadable(
        workflow=workflow, type=type(error).__name__, function=frame.name, line=frame.lineno
    )
