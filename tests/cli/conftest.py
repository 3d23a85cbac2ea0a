"""A host to speak to, and the command line to speak to it with."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, ValidationError

from streamwf import Workflow
from streamwf.adapters.web import NoPeers, application, serve
from streamwf.cli import main
from streamwf.cli.documents import documents
from streamwf.cli.options import JsonOption
from streamwf.embedded import EmbeddedHost
from streamwf.operations import Operations
from tests.cli.sample import parcels

Cli = Callable[..., Result]


@pytest.fixture
def cli() -> Cli:
    def run(*arguments: str, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if "--json" in arguments and result.exit_code != 2:
            check_json(arguments, result.stdout)
        return result

    return run


def check_json(arguments: tuple[str, ...], written: str) -> None:
    """What a command has written is of a shape that it says: that, and no more."""
    command: click.Command | None = main
    context = click.Context(main)
    for argument in arguments:
        if isinstance(command, click.Group):
            command = command.get_command(context, argument)
    assert command is not None
    [option] = [option for option in command.params if isinstance(option, JsonOption)]
    for _, document in documents(BytesIO(written.encode())):
        assert document in [read_as(shape, document) for shape in option.shapes]


def read_as(shape: type[BaseModel], document: Any) -> Any:
    try:
        return shape.model_validate(document).model_dump(mode="json")
    except ValidationError as error:
        return error


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a host that runs `parcels`."""
    with served(parcels) as url:
        yield url


@contextmanager
def served(*workflows: Workflow[Any, Any]) -> Iterator[str]:
    """The URL of a host in a thread of its own: commands run a loop in this one."""
    ready: list[str] = []
    begun, stop = threading.Event(), asyncio.Event()

    async def host() -> None:
        embedded = EmbeddedHost(*workflows)
        await embedded.start()
        web = application(Operations(embedded), NoPeers(), lambda: None)
        server = await serve(web, "127.0.0.1", 0)
        ready.append(server.url)
        begun.set()
        await stop.wait()
        await server.stop()
        await embedded.stop()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=[host()])
    thread.start()
    assert begun.wait(10)
    yield ready[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    assert not thread.is_alive()
    loop.close()


@pytest.fixture
def over_http(cli: Cli, url: str) -> Cli:
    """The command line, speaking to that host."""
    return lambda *arguments, **more: cli(*arguments, "--url", url, **more)


@pytest.fixture
def modules_as_before() -> Iterator[None]:
    """What a test has imported is gone after it."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written
