"""What docs/dead-letters.md shows is what happens."""

import re
from types import ModuleType

from streamwf.cli import main
from streamwf.cli.dead_letters import dead_letters
from streamwf.embedded import embedded
from tests.docs.readme import ROOT, blocks
from tests.embedded.feeds import Feed, one_step
from tests.support import eventually

PAGE = (ROOT / "docs" / "dead-letters.md").read_text(encoding="utf-8")
[CODE] = blocks("python", PAGE)
[SHELL] = blocks("sh", PAGE)


async def test_all_is_sent_again_once_it_is_mended() -> None:
    page = ModuleType("page")
    exec(compile(CODE.text, "page.py", "exec"), page.__dict__)
    feed, workflow, mended = Feed(), one_step(), False

    @workflow.connector(feed, name="feed")
    async def start(message: object) -> None:
        if not mended:
            raise ValueError("not yet")

    async with embedded(workflow) as app:
        await feed.put("a", "b")
        await eventually(lambda: len(app.host.logs["orders"].dead_letters) == 2)
        mended = True
        assert await page.retry_all(app.client, workflow, "mended") == 2
        assert await page.retry_all(app.client, workflow, "mended") == 0


def test_each_command_is_told() -> None:
    assert main.commands["dead-letters"] is dead_letters
    shown = re.findall(r"^streamwf dead-letters (\w+)", SHELL.text, re.MULTILINE)
    assert shown == [*dead_letters.commands]
    assert all(f"| `{name}` |" in PAGE for name in dead_letters.commands)
