"""Type checkers infer what they should, and refuse what they must.

`accepted.py` is taken as it is. In `refused.py` each line that is wrong says which error it is
to lead to; strict mode makes one that does not come an error itself.
"""

import re
from pathlib import Path

import pytest

api = pytest.importorskip("mypy.api")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ERROR = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: (?P<text>.*)  \[(?P<code>[\w-]+)\]$")


def errors_of(*files: Path, cache: Path) -> list[tuple[str, int, str]]:
    """(file, line, code) of each error that mypy finds in strict mode."""
    out, problem, _ = api.run(
        [
            "--strict",
            "--no-pretty",
            "--no-error-summary",
            f"--config-file={ROOT / 'pyproject.toml'}",
            f"--cache-dir={cache}",
            *map(str, files),
        ]
    )
    assert not problem
    lines = [line for line in out.splitlines() if ": note: " not in line]
    found = [ERROR.match(line) for line in lines]
    assert all(found), out
    return [(Path(m["file"]).name, int(m["line"]), m["code"]) for m in found if m]


@pytest.fixture(scope="module")
def cache() -> Path:
    """That of the checkout, so that all but the first run are quick."""
    return ROOT / ".mypy_cache"


@pytest.mark.timeout(300)
def test_what_is_right_is_taken_and_what_is_wrong_is_not(cache: Path) -> None:
    assert errors_of(HERE / "accepted.py", HERE / "refused.py", cache=cache) == []


@pytest.mark.timeout(300)
def test_each_error_is_where_it_should_be(tmp_path: Path, cache: Path) -> None:
    """The same without the marks, so that the errors themselves are seen."""
    source = (HERE / "refused.py").read_text()
    mark = re.compile(r"  # type: ignore\[([\w-]+)\]")
    bare = tmp_path / "refused_bare.py"
    bare.write_text(mark.sub("", source))
    expected = [
        (bare.name, number, match[1])
        for number, line in enumerate(source.splitlines(), 1)
        if (match := mark.search(line))
    ]
    assert len(expected) > 20
    assert errors_of(bare, cache=cache) == expected
