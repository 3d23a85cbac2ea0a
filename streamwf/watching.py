"""Watching moves: those of this process as they are folded, what was missed from the log, and what
other workers tell, as one stream that can be resumed at any place."""

from collections.abc import AsyncGenerator, Sequence
from time import monotonic

from .access import is_seen
from .broadcast import ROOM, Inbox
from .errors import ReadsTooSlowly, StreamwfError
from .looking import Host
from .moves import (
    Batch,
    Dropped,
    Gap,
    Missing,
    Places,
    Positions,
    Shards,
    Told,
    Watched,
    place_of,
)
from .ports import ShardId
from .retelling import retell
from .shard import Shard

#: Seconds between two looks at which shards are here, and who tells of the others.
TICK = 1.0

#: Seconds without a move after which it is told how far all was told.
KEEPALIVE = 15.0

#: The same, for another worker.
KEEPALIVE_AMONG = 3.0

#: A shard that is so many events ahead at most is listened to while the rest is read back.
NEAR = 1_000

#: How often a log is read back to its end before it is listened to all the same.
ROUNDS = 10

NOT_THERE = "the log ends before it"


class Watch:
    """One who watches.

    positions: how far all was told, to go on from there; of other shards, from now on.
    among: whether another worker watches, which hears of the shards that are here, and asks the
        other workers itself.

    Raises WorkflowNotFound and InvalidForeignId.
    """

    def __init__(
        self, host: Host, asked: Watched, positions: Positions, *, among: bool = False
    ) -> None:
        seen = sorted(name for name in host.workflows if is_seen(name))
        asked.check(seen)
        self._host = host
        self._asked = asked
        self._names = [asked.workflow] if asked.workflow else seen
        self._all = {ShardId(name, n) for name in self._names for n in range(host.partitions)}
        self.positions = {key: at for key, at in positions.items() if key in self._all}
        self.inbox = Inbox(ROOM)
        #: The shards that each other worker tells of.
        self.elsewhere: dict[str, set[ShardId]] = {}
        self._among = among
        self._begun = False
        self._look_at = 0.0
        self._missing: tuple[set[ShardId], set[ShardId]] = set(), set()
        self._told_shards: set[ShardId] = set()

    @property
    def place(self) -> str | None:
        """From where to go on."""
        return place_of(self.positions)

    async def tidings(self) -> AsyncGenerator[Sequence[Told], None]:
        """What is told, as it comes; at least once in a `TICK`, be it nothing.

        Ends after who watches was dropped, because it reads too slowly.
        """
        quiet_since = monotonic()
        keepalive = KEEPALIVE_AMONG if self._among else KEEPALIVE
        with self._host.broadcast.listening(self.inbox):
            try:
                async for told in self._tidings():
                    if told:
                        quiet_since = monotonic()
                    elif monotonic() > quiet_since + keepalive:
                        quiet_since = monotonic()
                        told = [Told(None, self._progress())]
                    yield told
            except ReadsTooSlowly as error:
                yield [Told(Dropped(str(error)), self._progress())]

    async def _tidings(self) -> AsyncGenerator[Sequence[Told], None]:
        async for told in self._look_around():
            yield told
        self._begun = True
        if self._among:
            # Of others it may hear only after the worker that asks has heard more of them.
            self.positions = {key: self.positions[key] for key in self.inbox.following}
        yield [Told(None, self._progress())]
        while True:
            await self.inbox.wait(max(self._look_at - monotonic(), 0))
            yield self._heard()
            if monotonic() >= self._look_at:
                async for told in self._look_around():
                    yield told
                yield [*self._shards_told()] if self._among else [*self._missing_told()]

    def _progress(self) -> str | None:
        if not self._among:
            return self.place
        return place_of({key: self.positions[key] for key in self.inbox.following})

    # ---- what comes

    def _heard(self) -> list[Told]:
        return [told for batch in self.inbox.take() for told in self._judged(batch)]

    def _judged(self, batch: Batch | Gap) -> list[Told]:
        if isinstance(batch, Gap):
            return self._skipped(batch)
        key = batch.shard
        told = self.positions.setdefault(key, batch.begin)
        if batch.begin > told:
            # It was opened anew, from a later checkpoint: what is between is in the log.
            self.inbox.following.discard(key)
            self._look_at = 0.0
            return []
        fitting = [
            (position, move)
            for position, move in batch.moves
            if position > told and self._asked.fits(move)
        ]
        self.positions[key] = max(batch.end, told)
        if not fitting:
            return []
        places = Places({key: told} if self._among else self.positions, key)
        return [Told(move, places.at(position)) for position, move in fitting]

    def _skipped(self, gap: Gap) -> list[Told]:
        key = ShardId(gap.workflow, gap.shard)
        back = gap.end < gap.begin
        self.positions[key] = gap.end if back else max(self.positions.get(key, 0), gap.end)
        return [Told(gap, None if self._among else self.place)]

    # ---- which shards there are

    def _here(self) -> dict[ShardId, Shard]:
        return {
            ShardId(name, shard.partition): shard
            for name in self._names
            for shard in self._host.shards(name)
        }

    async def _look_around(self) -> AsyncGenerator[list[Told], None]:
        self._look_at = monotonic() + TICK
        here = self._here()
        self.inbox.following &= here.keys()
        for key, shard in here.items():
            if key in self.inbox.following:
                continue
            try:
                async for told in self._caught_up(key, shard):
                    yield told
            except Exception as error:
                # Its log can't be read now, or it is lost. Until then it is among the missing.
                self.inbox.following.discard(key)
                if shard.open and not isinstance(error, StreamwfError):
                    raise

    async def _caught_up(self, key: ShardId, shard: Shard) -> AsyncGenerator[list[Told], None]:
        """What came in a shard since, up to where it is listened to."""
        # Who watches already has missed what was folded since the shard was opened.
        told = self.positions.setdefault(key, shard.began if self._begun else shard.position)
        if self._among:
            yield [self._shards_with(key)]
        if told > max(shard.end, shard.position):
            yield self._skipped(Gap(*key, told, shard.position, NOT_THERE))
        for _ in range(ROUNDS):
            if shard.position - self.positions[key] <= NEAR:
                break
            async for batch in retell(self._host, shard, self.positions[key], shard.position):
                yield self._judged(batch)
                yield self._heard()
        self.inbox.following.add(key)
        # From here on all is heard; it waits until what comes before it is told.
        async for batch in retell(self._host, shard, self.positions[key], shard.position):
            yield self._judged(batch)

    # ---- who tells of them

    def _missing_told(self) -> list[Told]:
        """The shards that nobody tells of, if they are others than at the time before last."""
        missing = self._all - self.inbox.following - set().union(*self.elsewhere.values())
        told, seen = self._missing
        self._missing = (told, missing)
        # What is missing for a moment only, while shards move, is not worth telling.
        if missing == told or missing != seen:
            return []
        self._missing = (missing, missing)
        found: dict[str, list[int]] = {}
        for name, number in sorted(missing):
            found.setdefault(name, []).append(number)
        return [Told(Missing(found), None)]

    def _shards_with(self, key: ShardId) -> Told:
        """The shards that are here, and one more, before anything is told of that one."""
        self._told_shards = self.inbox.following | {key}
        shards: dict[str, dict[int, int]] = {}
        for name, number in self._told_shards:
            shards.setdefault(name, {})[number] = self.positions[ShardId(name, number)]
        return Told(Shards(shards), None)

    def _shards_told(self) -> list[Told]:
        """The shards that are here, if some are no longer."""
        if self._told_shards == self.inbox.following:
            return []
        return [self._shards_with(key) for key in [*self.inbox.following][:1]]
