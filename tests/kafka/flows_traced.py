"""The workflow `orders`, with something that it tells itself."""

from flows import Order, Status, orders

from streamwf import Run

__all__ = ["orders"]


@orders.on_complete
async def shipped(run: Run[Order, Status]) -> None: ...
