"""`streamwf dev` as people run it: a process that is told to stop by a signal."""

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.request import urlopen

import pytest

from tests.cli.test_targets import one

Write = Callable[[str, str], Path]

ROOT = Path(__file__).parents[2]
HELLO = str(ROOT / "examples" / "hello.py")
DEV = (sys.executable, "-m", "streamwf.cli", "dev")

#: Seconds that anything may take.
PATIENCE = 60.0


@contextmanager
def dev(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A started `streamwf dev`, which ends at the latest when its time is over."""
    command = [*DEV, *arguments, "--port", "0"]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder) as process,
    ):
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        try:
            yield process
        finally:
            alarm.cancel()
            process.kill()


def read_until(stream: IO[str] | None, pattern: str) -> re.Match[str]:
    assert stream
    seen = []
    for line in stream:
        seen.append(line)
        match = re.search(pattern, line)
        if match:
            return match
    raise AssertionError(f"no line like {pattern!r} in {seen}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_the_example_and_stops_cleanly(number: signal.Signals) -> None:
    with dev(HELLO) as process:
        read_until(process.stdout, r"hello at http://127\.0\.0\.1:\d+/ \(in streamwf.db")
        worker, run_id = read_until(
            process.stdout, r"example run (http://\S+)/#/run/(\S+)"
        ).groups()
        read_until(process.stdout, r"trigger +NEW")
        read_until(process.stdout, r"moved +GREETED")
        read_until(process.stdout, "COMPLETED at GREETED")
        with urlopen(f"{worker}/", timeout=PATIENCE) as answer:
            assert b"<title>streamwf</title>" in answer.read()
        with urlopen(f"{worker}/api/v1/runs/{run_id}", timeout=PATIENCE) as answer:
            run = json.load(answer)
        assert (run["foreign_id"], run["status"]) == ("example", "GREETED")
        assert run["object"]["greeting"] == "Hello, world!"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_it_stops_while_an_example_waits_for_a_person(write: Write) -> None:
    text = one("a", "first").replace("Status)", "Status, example={})", 1)
    text = text.replace(
        "return Status.DONE", "from streamwf import Pause\n    return Pause('look')"
    )
    with dev(str(write("flows_that_wait.py", text))) as process:
        told = read_until(
            process.stdout, r"paused +look \(go on with: streamwf runs resume (\S+)\)"
        )
        assert told[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_an_example_that_does_not_fit_is_told_and_the_rest_goes_on(write: Write) -> None:
    text = one("a", "first").replace("dict, Status)", "int, Status, example='many')")
    with dev(str(write("flows_unfit.py", text)), HELLO) as process:
        read_until(process.stderr, r"first: its example can't be shown\. The object does not fit")
        read_until(process.stdout, r"hello: COMPLETED at GREETED")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_it_serves_parts_of_the_page_that_are_ones_own(tmp_path: Path) -> None:
    (tmp_path / "theme.css").write_text("h1 { color: teal; }")
    for store in ("memory", "sqlite:///streamwf.db"):
        with dev(HELLO, "--page-dir", str(tmp_path), "--store", store) as process:
            url = read_until(process.stdout, r"hello at (http://\S+)")[1]
            with urlopen(f"{url}page/theme.css", timeout=PATIENCE) as answer:
                assert answer.read() == b"h1 { color: teal; }"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0


def test_a_part_that_the_page_does_not_have_is_told(tmp_path: Path) -> None:
    (tmp_path / "thema.css").touch()
    with dev(HELLO, "--page-dir", str(tmp_path)) as process:
        assert process.wait(PATIENCE) == 1
        assert process.stderr
        assert process.stderr.read().startswith("Error: The page has no part 'thema.css'")


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*DEV, HELLO, "--port", str(port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: Can't listen on 127.0.0.1:{port}")


@pytest.mark.kafka
def test_it_runs_on_kafka(kafka: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", kafka)
    monkeypatch.setenv("STREAMWF_TOPIC_PREFIX", "dev-on-kafka.")
    monkeypatch.setenv("STREAMWF_DATA_DIR", str(tmp_path))
    with dev(HELLO, "--kafka") as process:
        read_until(process.stdout, rf"on Kafka at {kafka}")
        read_until(process.stdout, "COMPLETED at GREETED")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
