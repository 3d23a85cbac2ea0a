"""The page on the command line, made of the commands themselves."""

import inspect
from collections.abc import Iterator
from typing import Any

import click
from pydantic import BaseModel

from streamwf.cli import EXIT_CODES, main
from streamwf.cli.options import JsonOption

HEAD = """\
# The command line

Made by `make docs` from the commands. `streamwf COMMAND --help` tells the same.

What was asked for goes to stdout, and all else to stderr. On a terminal there are colours, unless
`NO_COLOR` is set; off a terminal there are none, and no line is wrapped. With `--json` each command
writes documents for programs, of the shapes [below](#shapes); one that goes on for as long as it
runs writes them as lines of JSON.

`--url`, or `STREAMWF_URL` in the environment, says where the worker is that is asked: any of its
group. A RUN is a run id, or `WORKFLOW/FOREIGN_ID` for the latest run of a foreign id.

`streamwf completion bash`, `zsh` or `fish` writes the script that makes a shell complete commands,
options, workflows, statuses and runs.
"""


def cli() -> str:
    context = click.Context(main, info_name="streamwf")
    parts = [HEAD, "## Exit codes\n", "| code | means |\n| --- | --- |"]
    parts += [f"| {code} | {said} |" for code, said in EXIT_CODES.items()]
    parts.append("\nWhich of the commands end with 1 in what case is said at each.")
    commands = list(_commands(main, context))
    for path, command, inner in commands:
        parts += _section(path, command, inner)
    parts += ["\n## Shapes\n", "Every field is always there."]
    for shape in sorted(_shapes(command for _, command, _ in commands), key=lambda s: s.__name__):
        parts += _shape(shape)
    return "\n".join([*parts, ""])


def _commands(
    group: click.Group, context: click.Context, path: str = "streamwf"
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, parent=context, info_name=name)
        here = f"{path} {name}"
        if isinstance(command, click.Group):
            yield from _commands(command, inner, here)
        else:
            yield here, command, inner


def _section(path: str, command: click.Command, context: click.Context) -> Iterator[str]:
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"\n## {path}\n\n```text\n{path} {usage}\n```\n"
    yield _prose(command.help or "")
    records = [
        (param, param.get_help_record(context))
        for param in command.params
        if isinstance(param, click.Option)
    ]
    yield "\n| option | |\n| --- | --- |"
    for param, record in records:
        if record is not None:
            said = record[1].strip() + _of_shapes(param)
            yield f"| `{_cell(record[0])}` | {_cell(said)} |"


def _prose(help: str) -> str:
    """The help of a command: what click is to leave as it is, is left as it is."""
    paragraphs = []
    for paragraph in inspect.cleandoc(help).split("\n\n"):
        asis = paragraph.startswith("\b\n")
        text = paragraph.removeprefix("\b\n")
        paragraphs.append(f"```text\n{text}\n```" if asis else text)
    return "\n\n".join(paragraphs)


def _of_shapes(param: click.Parameter) -> str:
    if not isinstance(param, JsonOption):
        return ""
    linked = (f"[{shape.__name__}](#{shape.__name__.lower()})" for shape in param.shapes)
    return f" {' or '.join(linked)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _shapes(commands: Iterator[click.Command]) -> set[type[BaseModel]]:
    """Those that are written, and those that are in them."""
    found: set[type[BaseModel]] = set()
    left: list[Any] = [
        shape
        for command in commands
        for param in command.params
        if isinstance(param, JsonOption)
        for shape in param.shapes
    ]
    while left:
        shape = left.pop()
        left += getattr(shape, "__args__", ())
        if isinstance(shape, type) and issubclass(shape, BaseModel) and shape not in found:
            found.add(shape)
            left += [field.annotation for field in shape.model_fields.values()]
    return found


def _shape(shape: type[BaseModel]) -> Iterator[str]:
    yield f"\n### {shape.__name__}\n"
    if shape.__dict__.get("__doc__"):
        yield f"{inspect.cleandoc(shape.__doc__ or '')}\n"
    yield "| field | |\n| --- | --- |"
    defined = shape.model_json_schema(mode="serialization")
    for name, schema in defined["properties"].items():
        yield f"| `{name}` | {_kind(schema)} |"


def _kind(schema: dict[str, Any]) -> str:
    """What a field is, as people say it."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[{name}]({'life-cycle.md' if name == 'State' else '#' + name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " or ".join(f"`{value}`" for value in values)
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return f"names, each with {_kind(inner)}" if isinstance(inner, dict) else "JSON object"
    if kind == "string":
        return "instant" if schema.get("format") == "date-time" else "text"
    return {"integer": "integer", "number": "number", "boolean": "true or false"}.get(
        str(kind), "null" if kind == "null" else "any JSON"
    )
