"""Options that several commands share."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from streamwf.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:6066"

LEVELS = click.Choice(["debug", "info", "warning", "error"])

targets = click.argument("targets", nargs=-1, required=True, metavar="TARGET...")

as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")

url = click.option(
    "--url",
    envvar="STREAMWF_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="Any worker of the group, or `streamwf dev`.",
)

#: The settings that say where a workflow's topics are.
KAFKA = ("brokers", "topic_prefix", "partitions", "replication_factor", "max_record_bytes")


def settings(*names: str) -> Callable[[Function], Function]:
    """A flag for each of these settings. What is not given is None, for `settings.load`."""

    def decorate(function: Function) -> Function:
        for name in reversed(names):
            flag = name.replace("_", "-")
            function = click.option(
                f"--{flag}/--no-{flag}" if _kind(name) is bool else f"--{flag}",
                name,
                default=None,
                type=_type(name),
                metavar="DURATION" if _kind(name) is timedelta else None,
                help=_help(name),
            )(function)
        return function

    return decorate


def _type(name: str) -> click.ParamType:
    if name == "log_level":
        return LEVELS
    if _kind(name) is bool:
        return click.BOOL
    if _kind(name) is int:
        return click.INT
    return click.Path(path_type=Path) if _kind(name) is Path else click.STRING


def _kind(name: str) -> object:
    return Settings.model_fields[name].annotation


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    description = field.description or name
    said = f"{description[0].upper()}{description[1:]}."
    return (
        said if field.default in (None, "", False) else f"{said}  [default: {told(field.default)}]"
    )


def told(default: object) -> str:
    """The default of a setting as one would give it."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, timedelta):
        return f"{default.total_seconds():g}s"
    return str(default)
