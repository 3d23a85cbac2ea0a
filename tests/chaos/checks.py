"""What is held against the story: what the judge says, and what only real processes can show."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from streamwf.comparing import Verified
from streamwf.errors import UnreadableRecord
from streamwf.events import decode_event, unpack_timers
from tests.chaos.faults import Done
from tests.chaos.recorder import Noted
from tests.proof.judge import judge
from tests.proof.story import Broken, Story

GRAIN = timedelta(milliseconds=1)

#: Seconds for which what has come due may wait until it is called.
LOOKED = 15.0


def broken(
    story: Story, noted: Sequence[Noted], done: Sequence[Done], verified: Verified
) -> list[Broken]:
    return [*judge(story), *_verified(verified), *_settled(story), *_early(story, noted, done)]


def _verified(verified: Verified) -> Iterator[Broken]:
    for difference in verified.differences:
        what = f"{difference.key!r} of partition {difference.partition}"
        yield Broken("verify_finds_nothing", what)


def _settled(story: Story) -> Iterator[Broken]:
    if not story.settled:
        took = story.ended_at - story.calm_at
        yield Broken("all_comes_to_rest", f"not within {took.total_seconds():.0f} s of calm")


def _early(story: Story, noted: Sequence[Noted], done: Sequence[Done]) -> Iterator[Broken]:
    """No timer fires early, by the clock of the worker that has called it, however wrong."""
    due = _due(story)
    for each in noted:
        call = each.executed
        first = min(due[call.run_id, call.name], default=None)
        if call.kind == "timeout" and (
            first is None or call.began + _ahead(each, done) + GRAIN < first
        ):
            what = f"{call.name} of {call.run_id} by {call.worker}, due at {first}"
            yield Broken("no_timer_fires_early_by_its_own_clock", what)


def _ahead(call: Noted, done: Sequence[Done]) -> timedelta:
    """By how much the worker's clock was ahead at most when it looked at what was due: that may
    have been before it was put back."""
    steps = [
        timedelta(seconds=max(each.fault.step, 0))
        for each in done
        if call.executed.worker.startswith(f"worker-{each.fault.worker + 1}-")
        and each.since <= call.began <= (each.until or call.began) + LOOKED
    ]
    return max([call.ahead, *steps])


def _due(story: Story) -> dict[tuple[str, str], list[datetime]]:
    """When timers were due, by the run and the timer's name."""
    found = defaultdict(list)
    for partition, records in story.logs.items():
        for record in records:
            with suppress(UnreadableRecord):
                event = decode_event(
                    record.value,
                    workflow=story.workflow.name,
                    partition=partition,
                    offset=record.offset,
                    timestamp_ms=record.timestamp,
                    limit=1_000_000,
                )
                for timer in unpack_timers(event.timers):
                    found[event.runid, timer.name].append(timer.due_at)
    return found
