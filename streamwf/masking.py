"""Masked fields: what of an object is shown to nobody but the program itself. Pure.

The mark of a field is its serializer. Without a word from here it writes what is there, so that
what is stored is whole; asked for a view, it writes the mask.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias, get_args

from pydantic import GetCoreSchemaHandler, SerializationInfo, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema, from_json

from .redaction import MASK, Redaction

#: What becomes of the value of a masked field, given as it is and as plain data.
Take: TypeAlias = Callable[[Any, Any], Any]

#: Names the mark in a schema, and what becomes of a value in a context.
_MARK = "streamwf_masked"

MASK_GIVEN = f"a masked field has the mask {MASK} for its value: give the value itself"

#: Serializers that let those below them write their part.
_OPEN = ("function-wrap", "include-exclude-sequence", "include-exclude-dict")

#: What is in a schema and describes no part of it.
_NO_PART = frozenset(
    {"metadata", "serialization", "definitions", "config", "computed_fields", "default"}
)

#: Errors of validators that users write, which may say anything.
_OF_USERS = ("value_error", "assertion_error")
_OF_PYDANTIC = frozenset(get_args(core_schema.ErrorType)) - set(_OF_USERS)

_Path: TypeAlias = tuple[str, ...] | None


class Masked:
    """Marks a field of an object, of whatever type: `card: Annotated[str, Masked]`.

    Its value appears in no view, log line or error: they show `•••`. Steps see it, and so does the
    client in the same process. Put it last, after what else the annotation says.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema: dict[str, Any] = {**handler(source)}
        schema["metadata"] = {**schema.get("metadata", {}), _MARK: True}
        # What the field itself is written by goes on below.
        below = schema.pop("serialization", None)
        inner = None if below is None else {**schema, "serialization": below}
        schema["serialization"] = core_schema.wrap_serializer_function_ser_schema(
            _write, info_arg=True, schema=inner
        )
        return schema


def _write(value: Any, handler: Callable[[Any], Any], info: SerializationInfo) -> Any:
    plain = handler(value)
    # Others who write such a type may have a context of their own.
    context = info.context
    take: Take | None = context.get(_MARK) if isinstance(context, dict) else None
    return plain if take is None else take(value, plain)


def context_of(take: Take) -> dict[str, Any]:
    """The context of a serialization that does this with the values of masked fields."""
    return {_MARK: take}


def no_mask(value: Any, plain: Any) -> Any:
    """What was shown is not stored as if it were the value. Raises ValueError."""
    if plain == MASK:
        raise ValueError(MASK_GIVEN)
    return plain


class Masking:
    """What is masked of a type. adapter: reads and writes it.

    masks: whether anything is. names: what the fields that are masked are called.
    shown: masked fields that would be shown all the same, because of what they are written by.
    """

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter
        shape = _Shape(adapter.core_schema)
        self._shape = shape
        self.masks = shape.masked(None)
        self.names = frozenset(shape.names(())) if self.masks else frozenset()
        self.shown = list(dict.fromkeys(shape.shown())) if self.masks else []
        self._whole = shape.masked(())
        self._above = frozenset(shape.names(None)) if self.masks else frozenset()
        self._known = frozenset(shape.every_name()) if self.masks else frozenset()

    def covers(self, path: str) -> bool:
        """Whether what is at a path, like `address.city`, is masked."""
        return self.masks and self._shape.masked(tuple(path.split(".")))

    def masked(self, value: Any, redaction: Redaction) -> Any:
        """A value as plain data, without what is masked, which the redaction takes."""
        return self._adapter.dump_python(
            value, mode="json", round_trip=True, warnings=False, context=context_of(redaction.take)
        )

    def shown_json(self, data: bytes, redaction: Redaction) -> Any:
        """The same of JSON. Of what does not fit, nobody knows what is masked."""
        try:
            return self.masked(self._adapter.validate_json(data), redaction)
        except Exception:  # The validators of users' types may raise anything.
            self.guess(data, redaction)
            return MASK

    def guess(self, data: bytes, redaction: Redaction) -> None:
        """Take what would be masked of data that does not fit the type: what has such names."""
        try:
            found = from_json(data)
        except ValueError:
            return
        self._guess(found, redaction, masked=self._whole)

    def _guess(self, found: Any, redaction: Redaction, *, masked: bool) -> None:
        if isinstance(found, dict):
            for name, value in found.items():
                self._guess(value, redaction, masked=masked or name in self.names)
        elif isinstance(found, list):
            for value in found:
                self._guess(value, redaction, masked=masked)
        elif masked:
            redaction.add(found)

    def details(self, error: ValidationError, root: str, data: bytes) -> list[dict[str, str]]:
        """What does not fit, without what was given. root: what the whole is called."""
        redaction = Redaction()
        self.guess(data, redaction)
        return [
            {"field": ".".join(map(str, place)) or root, "message": message}
            for place, message in (
                self._detail(item["loc"], item["type"], item["msg"], redaction)
                for item in _errors(error)
            )
        ]

    def _detail(
        self, place: tuple[int | str, ...], kind: str, message: str, redaction: Redaction
    ) -> tuple[tuple[int | str, ...], str]:
        masked = next((i for i, part in enumerate(place) if part in self.names), None)
        if self._whole or masked is not None:
            # Below a masked field, places may be keys that are masked too.
            place = () if masked is None else place[: masked + 1]
            return place, message if kind == "missing" else f"it does not fit ({kind})"
        last = next((part for part in reversed(place) if part in self._known), None)
        if kind not in _OF_PYDANTIC and (last is None or last in self._above):
            # Whoever says so has seen masked fields.
            return place, f"it does not fit ({kind})"
        return place, redaction.of(message)


def details(error: ValidationError, root: str) -> list[dict[str, str]]:
    """The same of a type that masks nothing."""
    return [
        {"field": ".".join(map(str, item["loc"])) or root, "message": item["msg"]}
        for item in _errors(error)
    ]


def _errors(error: ValidationError) -> Any:
    return error.errors(include_url=False, include_input=False, include_context=False)


@lru_cache(maxsize=1_000)
def masking_of(adapter: TypeAdapter[Any]) -> Masking:
    """What is masked of what callbacks bring."""
    return Masking(adapter)


class _Shape:
    """The schema of a type, as far as it says where the marks are."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._definitions: dict[str, Any] = {}
        self._define(root)

    def masked(self, path: _Path) -> bool:
        """Whether something is masked at a path, or above it; without one, anywhere."""
        return self._masked(self._root, path, set())

    def names(self, path: _Path) -> Iterator[str]:
        """The names of the fields that are masked, in whole or (None) in part."""
        for names, schema in self._every_field():
            if self._masked(schema, path, set()):
                yield from names

    def every_name(self) -> Iterator[str]:
        for names, _ in self._every_field():
            yield from names

    def shown(self) -> Iterator[str]:
        """Where the mark of a field counts for nothing."""
        return self._shown(self._root, "the object", set())

    def _define(self, node: Any) -> None:
        for part in _parts(node, but=_NO_PART - {"definitions"}):
            self._define(part)
        if isinstance(node, Mapping) and isinstance(node.get("ref"), str):
            self._definitions[node["ref"]] = node

    def _every_field(self) -> Iterator[tuple[list[str], Any]]:
        for root in (self._root, *self._definitions.values()):
            yield from self._fields_in(root)

    def _fields_in(self, node: Any) -> Iterator[tuple[list[str], Any]]:
        for _, names, schema in _fields(node):
            yield names, schema
        for part in _parts(node):
            yield from self._fields_in(part)

    def _target(self, node: Any, seen: set[Any], *also: Any) -> Any:
        """What a reference leads to, the first time."""
        key = (node.get("schema_ref"), *also) if isinstance(node, Mapping) else None
        if key is None or not isinstance(key[0], str) or key in seen:
            return None
        seen.add(key)
        return self._definitions.get(key[0])

    def _masked(self, node: Any, path: _Path, seen: set[Any]) -> bool:
        if _is_marked(node):
            return True
        target = self._target(node, seen, path)
        if target is not None and self._masked(target, path, seen):
            return True
        for _, names, schema in _fields(node):
            if path is None:
                if self._masked(schema, None, seen):
                    return True
            elif path and path[0] in names and self._masked(schema, path[1:], seen):
                return True
        return any(self._masked(part, path, seen) for part in _parts(node, fields=False))

    def _shown(self, node: Any, where: str, seen: set[Any]) -> Iterator[str]:
        written = node.get("serialization") if isinstance(node, Mapping) else None
        by = written if isinstance(written, Mapping) else {}
        if _is_marked(node):
            if by.get("function") is not _write:
                yield where
            return
        steps = node.get("steps", ()) if _type(node) == "chain" else ()
        closed = by.get("type", _OPEN[0]) not in _OPEN
        if closed or (steps and not self._masked(steps[-1], None, set())):
            # Of a chain, the last step says how it is written.
            if self._masked(node, None, set()):
                yield where
            return
        target = self._target(node, seen)
        if target is not None:
            yield from self._shown(target, where, seen)
        for name, _, schema in _fields(node):
            yield from self._shown(schema, f"field {name}", seen)
        for part in _parts(node, fields=False):
            yield from self._shown(part, where, seen)


def _is_marked(node: Any) -> bool:
    metadata = node.get("metadata") if isinstance(node, Mapping) else None
    return isinstance(metadata, Mapping) and metadata.get(_MARK) is True


def _type(node: Any) -> str:
    kind = node.get("type") if isinstance(node, Mapping) else None
    return kind if isinstance(kind, str) else ""


def _parts(node: Any, *, but: frozenset[str] = _NO_PART, fields: bool = True) -> Iterator[Any]:
    """What a node of a schema is made of. fields: whether its fields are among that."""
    if isinstance(node, list | tuple):
        yield from node
    elif _type(node):
        left_out = but if fields or not _has_fields(node) else but | {"fields"}
        yield from (part for name, part in node.items() if name not in left_out)
    elif isinstance(node, Mapping):
        yield from node.values()


def _has_fields(node: Any) -> bool:
    return _type(node) in ("model-fields", "typed-dict", "dataclass-args")


def _fields(node: Any) -> Iterator[tuple[str, list[str], Any]]:
    """The fields of a node: what each is called, all its names, and its schema."""
    if not _has_fields(node):
        return
    fields = node["fields"]
    pairs = fields.items() if isinstance(fields, Mapping) else ((f["name"], f) for f in fields)
    for name, field in pairs:
        aliases = (field.get("serialization_alias"), field.get("validation_alias"))
        yield name, [name, *_texts(aliases)], field["schema"]


def _texts(found: Any) -> Iterator[str]:
    if isinstance(found, str):
        yield found
    elif isinstance(found, list | tuple):
        for each in found:
            yield from _texts(each)
