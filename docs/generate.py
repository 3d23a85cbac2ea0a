"""Write the generated parts of the documentation: `make docs`. A test holds them up to date."""

import sys
from pathlib import Path

from streamwf.cli.options import told as told_default
from streamwf.record import LIVE, TRANSITIONS, State
from streamwf.settings import Settings

HERE = Path(__file__).parent


def life_cycle() -> str:
    """The life cycle of a run, from the table that decides it."""
    lines = [
        "# The life cycle of a run",
        "",
        "Made by `make docs` from `TRANSITIONS` in `streamwf/record.py`.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        f"    [*] --> {State.INITIATED}",
    ]
    for state, following in TRANSITIONS.items():
        lines += [f"    {state} --> {to}" for to in State if to in following]
        if state not in LIVE:
            lines.append(f"    {state} --> [*]")
    live = ", ".join(f"`{state}`" for state in State if state in LIVE)
    lines += ["```", "", f"There is at most one run of a foreign id in the states {live}.", ""]
    return "\n".join(lines)


def settings() -> str:
    """Every setting, with its default."""
    lines = [
        "# Settings",
        "",
        "Made by `make docs` from `streamwf/settings.py`. A flag comes before the environment, the",
        "environment before what is given in code, and that before the default.",
        "",
        "| setting | environment | default | what it is |",
        "| --- | --- | --- | --- |",
    ]
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        known = [str(choice) for choice in getattr(alias, "choices", [])]
        variables = [choice for choice in known if choice.isupper()] or [f"STREAMWF_{name.upper()}"]
        told = ", ".join(f"`{variable}`" for variable in variables)
        default = field.get_default(call_default_factory=True)
        shown = "" if default in (None, "") else f"`{told_default(default)}`"
        lines.append(f"| `{name}` | {told} | {shown} | {field.description} |")
    return "\n".join([*lines, ""])


PAGES = {"life-cycle.md": life_cycle, "settings.md": settings}


def main() -> None:
    for name, page in PAGES.items():
        (HERE / name).write_text(page())
        print(f"docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
