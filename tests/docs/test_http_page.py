"""What docs/http.md shows is what happens."""

import asyncio
import re

from examples.hello import hello
from streamwf.adapters import problems
from streamwf.adapters.web import (
    NoPeers,
    application,
    connection,
    forwarding,
    handlers,
    reading,
    serve,
)
from streamwf.embedded import EmbeddedHost
from streamwf.events import MAX_FOREIGN_ID
from streamwf.operations import Operations
from streamwf.record import MAX_REQUESTS
from streamwf.schedule_views import MAX_BACKFILL
from streamwf.settings import Settings
from streamwf.views import MAX_BULK, MAX_PAGE, MAX_VALUE, MAX_VALUES
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
PLAIN = " ".join(PAGE.replace(",", "").split())


async def test_the_requests_are_answered_as_the_page_shows() -> None:
    host = EmbeddedHost(hello)
    await host.start()
    server = await serve(application(Operations(host), NoPeers(), lambda: None), "127.0.0.1", 0)
    try:
        script = "\n".join(block.text for block in blocks("sh", PAGE))
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c"),
            script.replace("http://127.0.0.1:6066", server.url),
            stdout=asyncio.subprocess.PIPE,
        )
        told, _ = await process.communicate()
    finally:
        await server.stop()
        await host.stop()
    shown = "".join(block.text for block in blocks("text", PAGE))
    assert told.decode().replace("}", "}\n") == shown.replace("}\n", "}\n")


def test_every_status_is_there() -> None:
    [table] = re.findall(r"\| status \| \|\n.*?\n\n", PAGE, re.DOTALL)
    told = {int(number) for number in re.findall(r"\b\d{3}\b", table)}
    own = {400, 405, 408, 415}
    assert told == own | {
        status for kind in problems.known() if (status := problems.status_of_class(kind))
    }


def test_the_limits_are_those_that_hold() -> None:
    [limits] = re.findall(r"## Limits\n(.*)", PAGE, re.DOTALL)
    told = limits.replace(",", "")
    for limit in (
        f"{Settings().max_record_bytes} unless set; the body may have {reading.SLACK} more",
        f"{MAX_PAGE} runs; {MAX_BULK} runs; {MAX_BACKFILL} slots",
        f"{MAX_VALUES} values of a field each of {MAX_VALUE} characters",
        f"| {MAX_FOREIGN_ID} characters",
        f"a body to arrive | {reading.BODY_TIME:g} s",
        f"an answer to be read | {connection.HEAD_TIME:g} s",
        f"nobody uses | {connection.IDLE_TIME:g} s",
    ):
        assert limit in told, limit
    assert connection.HEAD_TIME == connection.READ_TIME
    assert MAX_FOREIGN_ID == reading.MAX_KEY
    assert f"within {forwarding.DEADLINE:g} s" in PLAIN
    assert f"for {handlers.LONGEST_AWAIT:g} s at most" in PLAIN
    assert f"latest {MAX_REQUESTS} requests" in PLAIN
