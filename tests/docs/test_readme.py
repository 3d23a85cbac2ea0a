"""What the README shows is what happens."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from streamwf import Workflow, embedded
from streamwf.adapters.web import NoPeers, application
from streamwf.adapters.web.page import SETTINGS, page_paths
from streamwf.cli import main
from streamwf.embedded import EmbeddedHost
from streamwf.events import decode_event
from streamwf.operations import Operations
from tests.docs.readme import README, ROOT, Block, blocks

ADDRESS = "http://127.0.0.1:6066"
HELLO = ROOT / "examples" / "hello.py"
PEOPLE = '{"foreign_id": "alan", "object": {"name": "Alan"}}\n'

#: Seconds that a block may take.
PATIENCE = 60.0


class Dev(NamedTuple):
    """A running `streamwf dev`: where its workflow lies, its address, and what it told first."""

    folder: Path
    url: str
    told: str


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """`streamwf dev` with the workflow of the first block."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "hello.py").write_text(blocks("python")[0].text)
    (folder / "people.jsonl").write_text(PEOPLE)
    command = [sys.executable, "-m", "streamwf.cli", "dev", "hello.py", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        alarm = threading.Timer(3 * PATIENCE, process.kill)
        alarm.start()
        assert process.stdout
        [shown] = blocks("text")
        told = "".join(process.stdout.readline() for _ in shown.text.splitlines())
        url = re.search(r"http://[\d.:]+", told)
        assert url, told
        yield Dev(folder, url[0], told)
        process.terminate()
        assert process.wait(PATIENCE) == 0
        alarm.cancel()


def run(dev: Dev, command: list[str]) -> str:
    """What a command writes that speaks to that address instead of the README's."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [word.replace(ADDRESS, dev.url) for word in command],
        cwd=dev.folder,
        env={**os.environ, "PATH": tools, "STREAMWF_URL": dev.url},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_block_is_the_example_and_no_longer_than_twelve_lines() -> None:
    first = blocks("python")[0]
    assert README.index("```python") < 20
    assert first.text == HELLO.read_text()
    assert len(first.text.splitlines()) <= 12


def test_what_dev_tells_is_what_the_readme_shows(dev: Dev) -> None:
    [shown] = blocks("text")

    def without_what_varies(text: str) -> str:
        return re.sub(r"(?<=run/)[0-9a-f-]+|:\d+|[\d.]+(?= s )", "", text)

    assert without_what_varies(dev.told) == without_what_varies(shown.text)


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.text[:30])
def test_the_python_blocks_run(block: Block, dev: Dev) -> None:
    run(dev, [sys.executable, "-c", block.text])


def test_the_example_of_each_workflow_moves() -> None:
    for block in blocks("python"):
        defined: dict[str, Any] = {"__name__": "readme"}
        if "Workflow(" not in block.text:
            continue
        exec(compile(block.text, "README.md", "exec"), defined)
        for workflow in defined.values():
            if isinstance(workflow, Workflow):
                asyncio.run(moves(workflow))


async def moves(workflow: Workflow[Any, Any]) -> None:
    example = workflow.objects.adapter.validate_python(workflow.example)
    first = workflow.member(workflow.graph.destinations(workflow.start_name)[0])
    async with embedded(workflow) as app:
        run_id = await app.client.trigger(workflow, "example", example)
        await app.client.await_(workflow, run_id, first)


def runnable(needs: str) -> list[Block]:
    return [block for block in blocks("sh") if block.needs == needs]


@pytest.mark.parametrize("block", runnable(""), ids=lambda block: block.text[:30])
def test_the_shell_blocks_run(block: Block, dev: Dev) -> None:
    if "curl" in block.text and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    assert run(dev, ["bash", "-euo", "pipefail", "-c", block.text])


def commands() -> list[list[str]]:
    """Every `streamwf` command on the page, with its arguments."""
    lines = "\n".join(block.text for block in blocks("sh")).splitlines()
    inside = [re.sub(r"^\w+=\$\((.*)\)$", r"\1", line) for line in lines]
    found = [shlex.split(line, comments=True) for line in inside if line.startswith("streamwf ")]
    return [words[1:] for words in found]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_commands_and_their_options_exist(
    words: list[str], dev: Dev, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(dev.folder)
    group: click.Command = main
    while isinstance(group, click.Group):
        group = group.commands[words[0]]
        words = words[1:]
    with group.make_context("streamwf", words):
        pass


def test_the_blocks_that_do_not_run_here_are_known() -> None:
    assert {block.needs for block in blocks("sh")} == {"", "dev", "checkout", "kafka"}


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    [checkout] = runnable("checkout")
    lines = [*checkout.text.splitlines(), *re.findall(r"`(make [\w -]+)`", README)]
    for line in lines:
        for target in line.partition("#")[0].split()[1:]:
            assert f"\n{target}:" in makefile


def test_the_record_of_any_producer_is_a_trigger() -> None:
    echoed = re.search(r"echo '(\{.*\})' \|\n +kcat .*-t hello\.events", README)
    assert echoed
    event = decode_event(
        echoed[1].encode(), workflow="hello", partition=0, offset=0, timestamp_ms=0, limit=1_000
    )
    assert (event.type, event.subject) == ("trigger", "barbara")
    assert json.loads(bytes(event.data)) == {"name": "Barbara"}  # type: ignore[arg-type]


async def test_the_views_are_those_that_are_served() -> None:
    views = application(Operations(EmbeddedHost()), NoPeers(), lambda: None)
    served = {
        (route.method, route.resource.canonical)
        for route in views.router.routes()
        if route.resource and route.method != "HEAD"
    }
    page = {("GET", path) for path in {SETTINGS, *page_paths()}}
    assert set(re.findall(r"`(GET|POST|PUT) (/[^`]+)`", README)) == served - page


def test_the_files_that_are_linked_exist() -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
