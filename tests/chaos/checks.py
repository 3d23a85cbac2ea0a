"""What is held against the story: what the judge says, and what only real processes can show."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta

from streamwf.comparing import Verified
from streamwf.errors import UnreadableRecord
from streamwf.events import decode_event, unpack_timers
from tests.chaos.recorder import Noted
from tests.kafka.cluster import PARTITIONS
from tests.proof.judge import judge
from tests.proof.story import Broken, Story

GRAIN = timedelta(milliseconds=1)


def broken(story: Story, noted: Sequence[Noted], verified: Verified) -> list[Broken]:
    return [*judge(story), *_verified(verified), *_settled(story), *_early(story, noted)]


def _verified(verified: Verified) -> Iterator[Broken]:
    for difference in verified.differences:
        what = f"{difference.key!r} of partition {difference.partition}"
        yield Broken("verify_finds_nothing", what)


def _settled(story: Story) -> Iterator[Broken]:
    if not story.settled:
        took = story.ended_at - story.calm_at
        yield Broken("all_comes_to_rest", f"not within {took.total_seconds():.0f} s of calm")


def _early(story: Story, noted: Sequence[Noted]) -> Iterator[Broken]:
    """No timer fires early, by the clock of the worker that has called it, however wrong."""
    due = defaultdict(list)
    for partition in range(PARTITIONS):
        for record in story.logs[partition]:
            try:
                event = decode_event(
                    record.value,
                    workflow=story.workflow.name,
                    partition=partition,
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                    limit=1_000_000,
                )
            except UnreadableRecord:
                continue
            for timer in unpack_timers(event.timers):
                due[event.runid, timer.name].append(timer.due_at)
    for each in noted:
        call = each.executed
        if call.kind == "timeout":
            first = min(due[call.run_id, call.name], default=None)
            if first is None or call.began + each.ahead + GRAIN < first:
                what = f"{call.name} of {call.run_id} by {call.worker}, due at {first}"
                yield Broken("no_timer_fires_early_by_its_own_clock", what)
