"""Options that several commands share."""

import os
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import click
from pydantic import SecretStr

from streamwf.adapters.endpoints import Endpoint
from streamwf.cli import completing
from streamwf.settings import KafkaSecurity, Settings, WebAccess

Function = TypeVar("Function", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:6066"

LEVELS = click.Choice(["debug", "info", "warning", "error"])

targets = click.argument("targets", nargs=-1, required=True, metavar="TARGET...")

#: The name of a workflow that a worker runs.
workflow = click.argument("workflow", shell_complete=completing.workflows)


class JsonOption(click.Option):
    """`--json`. shapes: what is written then, one of these. lines: one after the other."""

    shapes: tuple[type, ...] = ()
    lines: bool = False


def as_json(*shapes: type, lines: bool = False) -> Callable[[Function], Function]:
    """`--json`, which writes one of these; or a line of JSON for each, as they come."""
    kind = type("JsonOption", (JsonOption,), {"shapes": shapes, "lines": lines})
    said = "Write lines of JSON." if lines else "Write JSON."
    return click.option("--json", "as_json", is_flag=True, cls=kind, help=said)


_OF_ENDPOINT = (
    click.option(
        "--url",
        envvar="STREAMWF_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Any worker of the group, or `streamwf dev`.",
    ),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        envvar="STREAMWF_TOKEN_FILE",
        show_envvar=True,
        help="File with the token that says who asks, if it is not in STREAMWF_TOKEN.",
    ),
    click.option(
        "--ca-file",
        type=click.Path(path_type=Path),
        envvar="STREAMWF_CA_FILE",
        show_envvar=True,
        help="Certificates (PEM) of who signs that of an https:// worker.  [default: the system's]",
    ),
    click.option(
        "--cert-file",
        type=click.Path(path_type=Path),
        envvar="STREAMWF_CERT_FILE",
        show_envvar=True,
        help="Certificate to show to an https:// worker, with its key (PEM).",
    ),
)


def endpoint(url: str, **given: Path | None) -> Endpoint:
    """The worker at a URL, and what the environment says of who asks. given: files that are."""
    token = os.environ.get("STREAMWF_TOKEN")
    files = {
        name: given.get(name) or _file(name) for name in ("token_file", "ca_file", "cert_file")
    }
    return Endpoint(url, SecretStr(token) if token else None, **files)


def _file(name: str) -> Path | None:
    told = os.environ.get(f"STREAMWF_{name.upper()}")
    return Path(told) if told else None


def url(function: Function) -> Function:
    """The options that say which worker is asked, and who asks: `at`, an `Endpoint`."""

    @wraps(function)
    def told(
        *arguments: Any,
        url: str,
        token_file: Path | None,
        ca_file: Path | None,
        cert_file: Path | None,
        **more: Any,
    ) -> Any:
        at = endpoint(url, token_file=token_file, ca_file=ca_file, cert_file=cert_file)
        return function(*arguments, at=at, **more)

    for option in reversed(_OF_ENDPOINT):
        told = option(told)
    return cast("Function", told)


def _kind(name: str) -> Any:
    """The type of a setting that is given."""
    annotation = Settings.model_fields[name].annotation
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return annotation if get_origin(annotation) is Literal or not kinds else kinds[0]


#: The settings that are flags. What is on a command line is to be seen by everybody on the machine.
FLAGS = tuple(name for name in Settings.model_fields if _kind(name) is not SecretStr)

#: Those that say which database it is.
STORE = ("store", "store_password_file")

#: Those that say how to connect to Kafka.
SECURITY = tuple(name for name in FLAGS if name in KafkaSecurity.model_fields)

#: Those that say who gets in over HTTP.
ACCESS = tuple(name for name in FLAGS if name in WebAccess.model_fields)

#: Those that say where a workflow's topics are, and what may be in them.
TOPICS = ("brokers", *SECURITY, "topic_prefix", "max_record_bytes")

#: Those that say what the topics are like, too.
KAFKA = (*TOPICS, "partitions", "replication_factor")


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
    kind = _kind(name)
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind), case_sensitive=False)
    if kind is Path:
        return click.Path(path_type=Path)
    return {int: click.INT, bool: click.BOOL}.get(kind, click.STRING)


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
