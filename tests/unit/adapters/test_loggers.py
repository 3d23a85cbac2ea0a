"""What a process writes that logs: run in one of its own, for logging belongs to the process."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, sys, structlog
from streamwf.adapters import loggers

loggers.configure("debug")
loggers.configure(sys.argv[1])
logger = structlog.get_logger("streamwf.worker")
logger.debug("shard_opened", partition=1)
logger.info("worker_listens", url="http://127.0.0.1:1")
for name in ("aiokafka", "faust", "mode", "kafka", "shop"):
    logging.getLogger(name).info("info of %s", name)
    logging.getLogger(name).warning("warning of %s", name)
def divide(local="-".join(("a", "local"))):
    1 / 0
try:
    divide()
except ZeroDivisionError:
    logger.exception("step_failed")
"""

#: What a line would say that shows the variables of a traceback's frames.
LOCAL = "a-local"


def logged(level: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", PROGRAM, level]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=30)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_lines_are_json_with_the_event_and_utc_time() -> None:
    line = next(line for line in logged("info") if line["event"] == "worker_listens")
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "worker_listens",
        "level": "info",
        "logger": "streamwf.worker",
        "url": "http://127.0.0.1:1",
    }


@pytest.mark.parametrize(
    ("level", "ours", "infos", "warnings"),
    [
        ("debug", ["shard_opened", "worker_listens"], 5, 5),
        ("info", ["worker_listens"], 1, 5),
        ("warning", [], 0, 5),
        ("error", [], 0, 0),
    ],
)
def test_libraries_are_quiet_unless_somebody_debugs(
    level: str, ours: list[str], infos: int, warnings: int
) -> None:
    lines = logged(level)
    events = [line["event"] for line in lines]
    assert [event for event in events if "_" in event] == [*ours, "step_failed"]
    assert sum(event.startswith("info of ") for event in events) == infos
    assert sum(event.startswith("warning of ") for event in events) == warnings


def test_an_exception_is_one_line_with_its_traceback() -> None:
    line = logged("info")[-1]
    assert (line["event"], line["level"]) == ("step_failed", "error")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")
    assert LOCAL not in str(line)


def test_a_terminal_gets_lines_for_people() -> None:
    terminal, end = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "info"], stderr=end, env=environment
    ) as process:
        os.close(end)
        seen = b""
        # Linux says EIO where others say end of file.
        try:
            while chunk := os.read(terminal, 4096):
                seen += chunk
        except OSError:
            pass
        assert process.wait(30) == 0
    os.close(terminal)
    assert b"worker_listens" in seen
    assert b"url=http://127.0.0.1:1" in seen
    assert b"ZeroDivisionError: division by zero" in seen
    assert LOCAL.encode() not in seen
    assert not seen.startswith(b"{")
    assert b"\x1b[" not in seen
