"""Write the generated parts of the documentation: `make docs`. A test holds them up to date."""

import json
import sys
from pathlib import Path

from docs.commands import cli
from streamwf.adapters.described import METRICS
from streamwf.adapters.web import NoPeers, application
from streamwf.adapters.web.needs import NEEDS
from streamwf.cli.options import told as told_default
from streamwf.embedded import EmbeddedHost
from streamwf.operations import Operations
from streamwf.record import LIVE, TRANSITIONS, State
from streamwf.settings import Settings

BLANK = "\n\n"

HERE = Path(__file__).parent

#: Those of the acceptance suite, in the order of the columns.
HOSTS = ("embedded", "sqlite", "postgresql", "kafka")


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
        "environment before what is given in code, and that before the default. A secret is no",
        "flag: it is in the environment, or in a file.",
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


def features() -> str:
    """Every row of the feature table, with the tests that show it and how they ended."""
    lines = [
        "# Features",
        "",
        "What streamwf does, row by row, and the tests that show it on the embedded host, in",
        "memory, on a file and on PostgreSQL, and on Kafka. Made by `make docs` from",
        "`features.json`, which `make features` writes: it runs them.",
    ]
    for section in json.loads((HERE / "features.json").read_text()):
        lines += [
            "",
            f"## {section['title']}",
            "",
            "| row | what is shown | test | in memory | on a file | on PostgreSQL | on Kafka |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in section["rows"]:
            for test in row["tests"]:
                file, _, name = test["test"].partition("::")
                link = f"[`{name}`](../tests/acceptance/{file})"
                ended = [test["hosts"].get(host, "") for host in HOSTS]
                says = test["says"].replace("|", "\\|")
                lines.append(f"| {' | '.join((row['row'], says, link, *ended))} |")
    return "\n".join([*lines, ""])


def metrics() -> str:
    """The page on metrics, with every metric in its table."""
    head = "| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n"
    before, _, rest = (HERE / "metrics.md").read_text().partition(head)
    rows = ""
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows += f"| `{metric.name}` | {metric.type} | {labels} | {metric.meaning} |\n"
    return f"{before}{head}{rows}\n{rest.partition(BLANK)[2]}"


def access() -> str:
    """The page on access, with every route in its table."""
    head = "| call | takes the role |\n| --- | --- |\n"
    before, _, rest = (HERE / "access.md").read_text().partition(head)
    rows = ""
    needs = application(Operations(EmbeddedHost()), NoPeers(), lambda: None)[NEEDS]
    for (method, path), need in needs.items():
        if need.role is not None:
            told = f"{need.role} of every workflow" if need.of_every else str(need.role)
            rows += f"| `{method} {path}` | {told} |\n"
    return f"{before}{head}{rows}\n{rest.partition(BLANK)[2]}"


PAGES = {
    "access.md": access,
    "cli.md": cli,
    "features.md": features,
    "life-cycle.md": life_cycle,
    "metrics.md": metrics,
    "settings.md": settings,
}


def main() -> None:
    for name, page in PAGES.items():
        (HERE / name).write_text(page())
        print(f"docs/{name}", file=sys.stderr)


if __name__ == "__main__":
    main()
