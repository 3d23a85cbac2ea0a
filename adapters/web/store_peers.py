"""The other processes on the same database, as the holders of roles tell of them."""

from collections.abc import Callable, Iterable

from streamwf.counting import counted
from streamwf.errors import NotReady
from streamwf.ports import ShardId


class StorePeers:
    """Implements `streamwf.adapters.web.Peers`.

    own: where this process is reached. shard_of: the shard of a foreign id of a workflow.
    holder: where the process is reached that has a shard; None while nobody has it.
    shards: all that there are.
    """

    def __init__(
        self,
        own: str,
        shard_of: Callable[[str, str], ShardId],
        holder: Callable[[ShardId], str | None],
        shards: Iterable[ShardId],
    ) -> None:
        self._own = own
        self._shard_of = shard_of
        self._holder = holder
        self._shards = list(shards)

    def owner(self, workflow: str, foreign_id: str) -> str | None:
        found = self._holder(self._shard_of(workflow, foreign_id))
        if found is None:
            raise NotReady(what=f"the shard of {foreign_id!r}")
        return None if found == self._own else found

    def others(self) -> list[str]:
        holders = {self._holder(shard) for shard in self._shards}
        return sorted(url for url in holders if url is not None and url != self._own)

    def not_ready(self) -> str | None:
        """Why not every run can be asked for; None if it can."""
        missing = sum(self._holder(shard) is None for shard in self._shards)
        return f"{counted(missing, 'shard is/shards are')} nobody's yet" if missing else None
