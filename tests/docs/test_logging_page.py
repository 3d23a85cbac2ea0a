"""What docs/logging.md says of lines is what the code logs, and its code runs."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest

from streamwf import Workflow, embedded
from streamwf.logs import Naming
from tests.docs.readme import ROOT, blocks
from tests.support import record

PAGE = (ROOT / "docs" / "logging.md").read_text(encoding="utf-8")
EXAMPLE, OWN = blocks("python", PAGE)

#: Level and fields of each line, as the page has them.
LINES = {
    name: (level, set(re.findall(r"`(\w+)`", fields)))
    for name, level, fields in re.findall(
        r"^\| `(\w+)` \| (debug|info|warning|error) \|([^|]*)\|", PAGE, re.M
    )
}

#: The fields of a line about a run.
RUN_FIELDS = {
    name
    for table in re.findall(r"^\| field \| .*?\n\n", PAGE, re.M | re.S)
    for fields in re.findall(r"^\| (`.*?) \|", table, re.M)
    for name in re.findall(r"`(\w+)`", fields)
}

#: What takes the name of a line, and at which level.
CALLS = {"info": "info", "warning": "warning", "error": "error", "debug": "debug"}
WARNING = {"warn", "_warn", "tell"}

Status = Enum("Status", "NEW SENT")


def sources() -> Iterator[Path]:
    for folder in ("streamwf", "agents", "adapters", "tables"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "cli" not in path.parts:
                yield path


def logged() -> Iterator[tuple[str, str, set[str]]]:
    """Each line in the source: its name, its level and the fields that stand there."""
    for path in sources():
        tree = ast.parse(path.read_text())
        names = {
            node.targets[0].id: [node.value.body, node.value.orelse]
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.IfExp)
            and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            called, given = node.func.attr, node.args[:1]
            if given and isinstance(given[0], ast.Name):
                given = names.get(given[0].id, [])
            level = CALLS.get(called, "warning" if called in WARNING else None)
            if path.name == "debugging.py" and called == "_tell":
                level = "info"
            for name in given:
                if level and isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value, level, {word.arg for word in node.keywords if word.arg}


def test_the_page_lists_every_line_and_no_other() -> None:
    found = {(name, level) for name, level, _ in logged()}
    assert found == {(name, level) for name, (level, _) in LINES.items()}


def test_the_page_lists_every_field() -> None:
    for name, _, fields in logged():
        _, documented = LINES[name]
        assert fields - {"exc_info"} <= documented, name


def test_the_fields_of_a_run_are_those_of_the_page() -> None:
    workflow: Workflow[dict[str, str], Status] = Workflow("orders", dict, Status)
    naming = Naming(workflow, 0, 8)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert naming.run(record(kind="schedule"), traceparent=trace).keys() == RUN_FIELDS


def test_the_example_logs_what_it_says() -> None:
    command = [sys.executable, "-c", EXAMPLE.text]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    told = {line["event"]: line for line in lines if line["logger"] == "shop"}
    assert told.keys() == {"charged", "sent by courier"}
    for line in told.values():
        assert line["foreign_id"] == "o-1"
        assert line["role"].startswith("orders-")
    own = {"event", "level", "logger", "time"}
    for line in lines:
        if line["logger"] != "shop":
            _, fields = LINES[line["event"]]
            assert set(line) - own - fields <= told["charged"].keys()


async def test_the_logger_of_ones_own_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    module: dict[str, type] = {}
    exec(OWN.text, module)
    workflow: Workflow[dict[str, str], Status] = Workflow("orders", dict, Status, debug=True)

    @workflow.step(Status.NEW, to=Status.SENT)
    async def send(run: object) -> Status:
        return Status.SENT

    async with embedded(workflow, logger=module["Printing"]()) as app:
        run_id = await app.client.trigger(workflow, "o-1", {})
        await app.client.await_(workflow, run_id, Status.SENT)
    assert "run_changed {'workflow': 'orders'" in capsys.readouterr().out
