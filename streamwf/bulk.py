"""Doing the same to many runs, whichever workers own them."""

import asyncio
from collections.abc import Awaitable, Callable

from .errors import StreamwfError
from .views import Bulk, Page, Refusal, RunView


async def steer_all(page: Page, steer: Callable[[RunView], Awaitable[object]]) -> Bulk:
    """Steer the runs of a page at the same time. One that refuses holds up no other."""

    async def refusal(run: RunView) -> Refusal | None:
        try:
            await steer(run)
        except StreamwfError as error:
            return Refusal(
                run_id=run.run_id,
                foreign_id=run.foreign_id,
                workflow=run.workflow,
                why=str(error),
            )
        return None

    answers = await asyncio.gather(*map(refusal, page.runs))
    refused = [answer for answer in answers if answer is not None]
    return Bulk(
        matched=len(page.runs),
        changed=len(page.runs) - len(refused),
        refused=refused,
        cursor=page.cursor,
    )
