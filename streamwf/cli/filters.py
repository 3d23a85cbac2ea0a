"""The options that say which runs are meant."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from streamwf.cli import completing
from streamwf.errors import InvalidQuery
from streamwf.record import State
from streamwf.views import Request

Function = TypeVar("Function", bound=Callable[..., Any])
RequestT = TypeVar("RequestT", bound=Request)

_INSTANT = "an instant as ISO 8601 with a time zone"


workflow = click.option(
    "--workflow", "-w", shell_complete=completing.workflows, help="Only of this workflow."
)


def filters(function: Function) -> Function:
    """What each gives is a field of a filter; not given, it is None or empty."""
    for option in reversed(
        [
            workflow,
            click.option(
                "--status",
                multiple=True,
                shell_complete=completing.statuses,
                help="Only at this status; may be repeated.",
            ),
            click.option(
                "--state",
                multiple=True,
                type=click.Choice([state.value for state in State], case_sensitive=False),
                help="Only in this state; may be repeated.",
            ),
            click.option("--foreign-id", help="Only of this foreign id."),
            click.option("--prefix", help="Only of foreign ids that begin like this."),
            click.option("--created-after", help=f"Only created then or later: {_INSTANT}."),
            click.option("--created-before", help="Only created earlier than that."),
            click.option("--updated-after", help="Only changed then or later."),
            click.option("--updated-before", help="Only changed earlier than that."),
            click.option(
                "--search",
                multiple=True,
                metavar="FIELD=VALUE",
                help="Only whose object has this value in a field that the workflow is searched "
                "by; may be repeated, values of one field are alternatives.",
            ),
        ]
    ):
        function = option(function)
    return function


def read(kind: type[RequestT], given: dict[str, Any]) -> RequestT:
    """What the options ask for."""
    fields: dict[str, list[str]] = {}
    for pair in given["search"]:
        field, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not FIELD=VALUE", param_hint="--search")
        fields.setdefault(field, []).append(value)
    try:
        return kind.of(**{**given, "search": fields})
    except InvalidQuery as error:
        raise click.UsageError(str(error)) from None
