"""How roles spread over those who want the same ones."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Held(NamedTuple):
    """A role that somebody has. heir: who gets it once its holder has given it back, if asked."""

    role: str
    holder: object
    heir: object | None = None


def to_ask_for(me: object, seen: Iterable[Held]) -> list[str]:
    """The roles to ask the holder for that has most of them.

    seen: of the roles that `me` wants or has, those that somebody has.

    Only who has two roles less than another asks, so each role that goes over brings them nearer
    to each other, and none goes back. A quarter of the difference at a time, as others may ask too.
    """
    roles = list(seen)
    loads = Counter(role.heir or role.holder for role in roles)
    difference = max(loads.values(), default=0) - loads[me]
    if difference < 2:
        return []
    fullest = max(loads, key=lambda who: loads[who])
    offered = [role.role for role in roles if role.holder == fullest and role.heir is None]
    return offered[: max(difference // 4, 1)]
