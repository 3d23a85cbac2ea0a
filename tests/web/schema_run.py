"""Requests that schemathesis makes up of the document that a worker serves."""

import asyncio
import sys
import tempfile
from pathlib import Path

CONFIG = Path(__file__).with_name("schemathesis.toml")
SEED = "1"


async def made_up_requests(url: str, examples: int, *options: str) -> None:
    """Send them, and check every answer in all the ways there are.

    examples: how many of each operation at most.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(CONFIG), "run", f"{url}/openapi.json"),
        *("--checks", "all", "--seed", SEED, "--max-examples", str(examples)),
        *("--request-timeout", "40", "--no-color", "--generation-database", "none", *options),
    ]
    # It leaves its notes where it runs.
    with tempfile.TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, told.decode()
