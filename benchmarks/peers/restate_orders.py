"""The service of Restate that is measured: three steps that do nothing, each returns the object.

Runs in the peers' own virtual environment, served by hypercorn as `restate_orders:app`.
"""

from typing import Any

import restate

orders = restate.Service("orders")

Order = dict[str, Any]


async def step(order: Order) -> Order:
    return order


async def deliver(ctx: restate.Context, order: Order) -> Order:
    for name in ("pick", "pack", "ship"):
        order = await ctx.run_typed(name, step, restate.RunOptions(), order)
    return order


orders.handler()(deliver)
app = restate.app([orders])
