from collections.abc import Callable
from pathlib import Path

import click
import pytest

from streamwf.cli.targets import ModuleFailed, load_workflow, load_workflows
from streamwf.errors import DefinitionNotFound, InvalidDefinition

pytestmark = pytest.mark.usefixtures("modules_as_before")

Write = Callable[[str, str], Path]

ONE = """\
from enum import Enum
from streamwf import Run, Workflow

Status = Enum("Status", "NEW DONE")
{variable} = Workflow("{name}", dict, Status)

@{variable}.step(Status.NEW, to=Status.DONE)
async def finish(run):
    return Status.DONE
"""


def one(variable: str, name: str) -> str:
    return ONE.format(variable=variable, name=name)


def names(*targets: str) -> list[str]:
    return [workflow.name for workflow in load_workflows(targets)]


def test_a_file_is_found_with_all_its_workflows(write: Write) -> None:
    path = write("flows_of_two.py", one("a", "first") + one("b", "second") + "c = b\n")
    assert names(str(path)) == ["first", "second"]
    assert names(f"{path}:b") == ["second"]
    assert names(f"{path}:b", f"{path}:a") == ["second", "first"]


def test_a_module_is_found_from_the_working_directory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write("flows_of_one.py", one("a", "first")).parent
    monkeypatch.chdir(folder)
    assert names("flows_of_one") == ["first"]
    assert names("flows_of_one:a") == ["first"]


def test_a_file_finds_what_lies_beside_it(write: Write) -> None:
    write("words_beside.py", "NAME = 'beside'\n")
    text = "from words_beside import NAME\n" + one("a", "x").replace('"x"', "NAME")
    assert names(str(write("flows_with_neighbour.py", text))) == ["beside"]


def test_a_file_may_be_called_as_a_module_of_python_is(write: Write) -> None:
    assert names(str(write("json.py", one("a", "first")))) == ["first"]
    import json

    assert json.loads("1") == 1


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("no_such_module", "there is no module 'no_such_module'"),
        ("tests.cli.no_such", "there is no module 'tests.cli.no_such'"),
        ("no/such/file.py", "there is no such file"),
        ("", "is no module's name"),
        (".sample", "is no module's name"),
        ("tests.cli.sample:nothing", "it has no workflow 'nothing'; it has: parcels"),
        ("tests.cli.sample:send", "it has no workflow 'send'"),
        ("tests.support", "it defines no workflow"),
    ],
)
def test_what_is_not_there_is_told(target: str, why: str) -> None:
    with pytest.raises(DefinitionNotFound) as caught:
        load_workflows([target])
    assert why in str(caught.value)


def test_an_error_of_the_module_is_shown_at_its_line_and_nothing_of_ours(write: Write) -> None:
    path = write("flows_that_fail.py", "\n\nx = 1 / 0\n")
    with pytest.raises(ModuleFailed) as caught:
        load_workflows([str(path)])
    told = str(caught.value)
    assert f'"{path}", line 3' in told
    assert told.endswith("ZeroDivisionError: division by zero")
    assert "targets.py" not in told
    assert "importlib" not in told


def test_a_syntax_error_is_shown_at_its_line(write: Write) -> None:
    path = write("flows_unreadable.py", "x = (\n")
    with pytest.raises(ModuleFailed, match=r"(?s)line 1\n.*SyntaxError") as caught:
        load_workflows([str(path)])
    assert str(path) in str(caught.value)


def test_what_the_module_itself_misses_is_not_the_target(write: Write) -> None:
    path = write("flows_that_miss.py", "import no_such_library\n")
    with pytest.raises(ModuleFailed, match="No module named 'no_such_library'"):
        load_workflows([str(path)])


def test_a_module_that_exits_is_told(write: Write) -> None:
    with pytest.raises(ModuleFailed, match="SystemExit: 3"):
        load_workflows([str(write("flows_that_exit.py", "raise SystemExit(3)\n"))])


def test_mistakes_of_a_definition_are_told(write: Write) -> None:
    path = write("flows_mistaken.py", one("a", "Capital"))
    with pytest.raises(InvalidDefinition, match="Capital"):
        load_workflows([str(path)])


def test_two_workflows_of_one_name_are_a_wrong_command_line(write: Write) -> None:
    first = write("flows_here.py", one("a", "same"))
    second = write("flows_there.py", one("a", "same"))
    with pytest.raises(click.UsageError, match="'same'"):
        load_workflows([str(first), str(second)])


def test_one_of_several_has_to_be_named(write: Write) -> None:
    path = write("flows_of_many.py", one("a", "first") + one("b", "second"))
    assert load_workflow(f"{path}:a").name == "first"
    with pytest.raises(click.UsageError, match="first, second"):
        load_workflow(str(path))
