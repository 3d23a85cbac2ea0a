"""Finding the workflows that a command line names."""

import importlib
import importlib.util
import re
import sys
import traceback
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from streamwf.definition import Workflow
from streamwf.errors import DefinitionNotFound, StreamwfError

AnyWorkflow = Workflow[Any, Any]

#: Frames of these are ours, or Python's import machinery: of no use to whoever wrote the module.
_OURS = (str(Path(__file__).parents[1]), "<frozen ", importlib.__file__)


class ModuleFailed(StreamwfError):
    """{target} can't be imported:

    {error}"""


def load_workflows(targets: Sequence[str]) -> list[AnyWorkflow]:
    """The workflows at targets like MODULE, MODULE:WORKFLOW, FILE.py or FILE.py:WORKFLOW.

    Raises DefinitionNotFound, ModuleFailed and InvalidDefinition.
    """
    found: dict[str, AnyWorkflow] = {}
    for target in targets:
        for workflow in _at(target):
            if found.setdefault(workflow.name, workflow) is not workflow:
                raise click.UsageError(f"Two workflows are called {workflow.name!r}: rename one.")
    for workflow in found.values():
        workflow.validate()
    return list(found.values())


def load_workflow(target: str) -> AnyWorkflow:
    """The one workflow at a target. Raises what `load_workflows` does."""
    workflows = load_workflows([target])
    if len(workflows) > 1:
        names = ", ".join(sorted(workflow.name for workflow in workflows))
        raise click.UsageError(f"{target} has several workflows ({names}): say {target}:WORKFLOW.")
    return workflows[0]


def _at(target: str) -> list[AnyWorkflow]:
    file = re.fullmatch(r"(.+\.py)(?::(.+))?", target)
    place, _, name = target.partition(":")
    if file:
        place, name = file.group(1), file.group(2) or ""
    module = _imported(target, place, is_file=file is not None)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Workflow)}
    if not name:
        if not found:
            raise DefinitionNotFound(target=target, why="it defines no workflow")
        return list({id(workflow): workflow for workflow in found.values()}.values())
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise DefinitionNotFound(target=target, why=f"it has no workflow {name!r}; it has: {there}")
    return [found[name]]


def _imported(target: str, place: str, *, is_file: bool) -> ModuleType:
    try:
        return _from_file(target, Path(place)) if is_file else _from_path(target, place)
    except StreamwfError:
        raise
    except (Exception, SystemExit) as error:
        raise ModuleFailed(target=target, error=_as_its_author_sees_it(error)) from error


def _from_path(target: str, name: str) -> ModuleType:
    """Import a module as `python -m` does: the working directory counts."""
    _look_first_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or f"{name}.".startswith(f"{error.name}."):
            why = f"there is no module {error.name or name!r}"
            raise DefinitionNotFound(target=target, why=why) from None
        raise
    except (TypeError, ValueError):
        # What import_module says to names like ".x" and "".
        raise DefinitionNotFound(target=target, why=f"{name!r} is no module's name") from None


def _from_file(target: str, path: Path) -> ModuleType:
    """Import a file as `python FILE` does: its folder counts."""
    path = path.resolve()
    if not path.is_file():
        raise DefinitionNotFound(target=target, why="there is no such file")
    for known in list(sys.modules.values()):
        if getattr(known, "__file__", None) == str(path):
            return known
    _look_first_in(path.parent)
    name = path.stem
    if name in sys.modules:
        name = f"{name}_{zlib.crc32(str(path).encode()):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise DefinitionNotFound(target=target, why="it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _look_first_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _as_its_author_sees_it(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith(_OURS)]
    return "".join([*_lines(theirs), *traceback.format_exception_only(error)]).rstrip()


def _lines(frames: Iterable[traceback.FrameSummary]) -> list[str]:
    return traceback.format_list(list(frames))
