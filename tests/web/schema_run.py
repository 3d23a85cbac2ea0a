"""Requests that schemathesis makes up of the document that a worker serves."""

import asyncio
import sys
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
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, told.decode()
