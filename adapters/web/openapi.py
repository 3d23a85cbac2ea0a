"""The OpenAPI document, made of what the operations are declared with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from streamwf.adapters import sse
from streamwf.adapters.problems import CONTENT_TYPE, Problem, status_of_class
from streamwf.adapters.web.declared import Declared, EventStream
from streamwf.adapters.web.reading import IDEMPOTENCY_KEY, MAX_KEY
from streamwf.adapters.web.tags import EXAMPLE
from streamwf.errors import (
    CrossSite,
    HostRefused,
    InvalidQuery,
    NotAuthenticated,
    RoleMissing,
    StreamwfError,
)
from streamwf.views import SEARCH, History, RunView, View

_REFERENCE = "#/components/schemas/{model}"

#: What the parts of paths are.
_PARTS = {
    "name": "The workflow",
    "run_id": "The run",
    "version": "The version of the run, counted from 1",
    "foreign_id": "The name of the thing in your own systems",
    "schedule": "The schedule",
    "connector": "The connector",
    "letter": "The dead letter",
    "action": "What to do",
    "asked": "What to do",
}

_TEXTS = ("text/plain", "application/openmetrics-text")
_TAGGED = (RunView, History)

#: What keeps somebody out.
_GUARDED = (NotAuthenticated, RoleMissing, CrossSite, HostRefused)

Schema = dict[str, Any]


def document(operations: Sequence[Declared]) -> dict[str, Any]:
    """The document of an API that has these operations."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for operation in operations:
        paths[operation.template][operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "streamwf",
            "version": version("streamwf"),
            "description": "Whichever worker is asked, it answers for all of them.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        # Where nobody is asked who they are, none is needed.
        "security": [{}, {"token": []}],
    }


def _schemas(operations: Sequence[Declared]) -> dict[str, Schema]:
    models: dict[type[BaseModel], JsonSchemaMode] = {Problem: "serialization"}
    for operation in operations:
        models |= {
            told: "serialization"
            for told in operation.answers.values()
            if issubclass(told, BaseModel)
        }
        if operation.body is not None:
            models[operation.body] = "validation"
    _, schemas = models_json_schema([*models.items()], ref_template=_REFERENCE)
    found: dict[str, Schema] = schemas["$defs"]
    return found


def _operation(operation: Declared) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{_camel(operation.template)}",
        "summary": operation.says,
        "parameters": [
            *_in_path(operation.parts),
            *_in_query(operation),
            *_in_headers(operation),
        ],
        "responses": {
            str(status): answer
            for status, answer in sorted({**_problems(operation), **_answers(operation)}.items())
        },
    }
    if operation.body is not None:
        told["requestBody"] = {
            "required": not operation.optional,
            "content": {"application/json": {"schema": _of(operation.body)}},
        }
    return told


def _in_path(parts: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PARTS[name],
            "schema": {"type": "string", **({"enum": says} if says else {"minLength": 1})},
        }
        for name, says in parts.items()
        if len(says) != 1
    ]


def _in_query(operation: Declared) -> list[dict[str, Any]]:
    schema = operation.parameters.model_json_schema(ref_template=_REFERENCE)
    definitions = schema.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _inlined(says, definitions),
        }
        for name, says in schema.get("properties", {}).items()
        # OpenAPI has no parameters whose names begin with something.
        if f"{name}." != SEARCH
    ]


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references, and without null, which no parameter can be."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema if each != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    inlined = {
        name: _inlined(each, definitions)
        for name, each in schema.items()
        if name not in ("title", "default") or each not in (None, schema.get("title"))
    }
    if len(inlined.get("anyOf", ())) == 1:
        return {**inlined.pop("anyOf")[0], **inlined}
    return inlined


def _in_headers(operation: Declared) -> list[dict[str, Any]]:
    headers: list[dict[str, Any]] = []
    if operation.conditional:
        says = f"Only for this version of the run: the ETag of a view of it, or {EXAMPLE}"
        pattern = r'^"[0-9]{1,15}(\.[0-9a-f]{8}(\.[0-9a-f]{8})?)?"$'
        headers.append(_header("If-Match", says, {"type": "string", "pattern": pattern}))
    if operation.body is not None and "key" in operation.body.model_fields:
        says = "Makes a repeat harmless, as `key` in the body does"
        schema = {"type": "string", "pattern": f"^[!#-~]{{1,{MAX_KEY}}}$"}
        headers.append(_header(IDEMPOTENCY_KEY, says, schema))
    if operation.method == "GET" and operation.answers.get(200) in _TAGGED:
        says = "Answer only if the view is another one than that with this ETag"
        headers.append(_header("If-None-Match", says, {"type": "string"}))
    return headers


def _header(name: str, says: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": says, "schema": schema}


def _answers(operation: Declared) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for status, told in operation.answers.items():
        if issubclass(told, View):
            content = {"application/json": {"schema": _of(told)}}
            says = (told.__doc__ or told.__name__).partition("\n")[0]
        else:
            kinds = (sse.CONTENT_TYPE,) if told is EventStream else _TEXTS
            content = {kind: {"schema": {"type": "string"}} for kind in kinds}
            says = "Text"
        found[status] = {"description": says, "content": content}
        if told in _TAGGED:
            says = "The version of the run"
            found[status]["headers"] = {"ETag": {"description": says, "schema": {"type": "string"}}}
    if operation.method == "GET" and operation.answers.get(200) in _TAGGED:
        found[304] = {"description": "It is the view that whoever asks has"}
    return found


def _problems(operation: Declared) -> dict[int, Any]:
    says: dict[int, list[str]] = defaultdict(list)
    says[400].append("The request can't be read")
    if operation.body is not None:
        says[408].append("The body did not arrive in time")
        says[413].append("The body is too large")
        says[415].append("The body is not JSON")
    guarded = () if operation.role is None else _GUARDED
    every: tuple[type[StreamwfError], ...] = (InvalidQuery, *guarded, *operation.problems)
    for problem in dict.fromkeys(every):
        says[status_of_class(problem) or 500].append(_about(problem))
    return {
        status: {
            "description": "\n\n".join(lines),
            "content": {CONTENT_TYPE: {"schema": _of(Problem)}},
        }
        for status, lines in says.items()
    }


def _about(problem: type[StreamwfError]) -> str:
    text = " ".join((problem.__doc__ or "").split())
    return f"{problem.__name__}: {text}"


def _of(model: type[BaseModel]) -> Schema:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _camel(path: str) -> str:
    words = path.replace("{", " ").replace("}", " ").replace("/", " ").replace("-", " ").split()
    return "".join(word.replace("_", " ").title().replace(" ", "") for word in words)
