"""How soon a worker that is gone is replaced: all of it follows from one setting.

The group takes a worker for gone once it has heard no heartbeat of it for the session timeout. The
others hear of that with their own next heartbeat, and join anew.
"""

from typing import NamedTuple, Self

from streamwf.settings import Settings

#: Heartbeats in a session, and the most seconds between two.
BEATS = 10
HEARTBEAT = 0.5

#: The share of the session timeout after which a silent group puts ownership in doubt.
LEASE = 0.6

#: The share of the session timeout that steps in progress get to end in before shards may move, for
#: which all others wait, and the most seconds.
QUIESCE_SHARE = 0.1
QUIESCE = 1.0

#: Seconds without a fetch after which aiokafka leaves the group. Faust's consumer fetches nothing
#: while all that it is assigned is changelogs, and is none the worse for it.
NO_FETCH = 1e8


class Membership(NamedTuple):
    """In seconds.

    session: a worker that is silent for so long is replaced. heartbeat: between two heartbeats.
    lease: no step starts once the group has been silent for so long. quiesce: what steps in
    progress get to end in when shards may move.
    """

    session: float
    heartbeat: float
    lease: float
    quiesce: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        session = settings.session_timeout.total_seconds()
        return cls(
            session,
            heartbeat=min(HEARTBEAT, session / BEATS),
            lease=LEASE * session,
            quiesce=min(QUIESCE, QUIESCE_SHARE * session),
        )
