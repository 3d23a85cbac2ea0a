"""Whether an engine has kept what it promises, by the story of what it did.

The log is told again by a model that was written apart from the fold (`tests.proof.life`), and
each promise is a function of that and of what was seen from outside. All take time in proportion
to the length of the log.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.proof import calls, ends, rows
from tests.proof.case import Case
from tests.proof.life import Verdict
from tests.proof.story import Broken, Executed, Story

#: Of one promise that many things break, so many are told.
TOLD = 20

Promise = Callable[[Case], Iterator[str]]

PROMISES: tuple[Promise, ...] = (
    ends.what_was_accepted_is_in_the_log,
    ends.who_is_refused_is_told_the_truth,
    ends.what_nobody_hears_of_is_set_aside,
    ends.what_one_event_leads_to_is_there,
    ends.no_timer_is_forgotten,
    ends.what_can_finish_finishes,
    calls.no_call_comes_of_nothing,
    calls.no_result_is_ahead_of_the_log,
    calls.no_result_is_there_twice,
    calls.what_counts_was_done,
    calls.nothing_begins_early,
    calls.no_timer_fires_early,
    calls.no_timer_fires_for_another_stay,
    calls.no_timer_fires_twice,
    calls.what_is_stopped_starts_nothing,
    calls.nothing_begins_that_is_over,
    calls.tries_share_their_key,
    calls.no_try_is_left_out,
    rows.folding_again_gives_the_same,
    rows.no_key_outlives_its_data,
    rows.what_is_encrypted_is_sealed,
)

#: What a row that is not as it should be breaks: one of these.
OF_ROWS = (
    "one_run_is_in_progress",
    "no_run_is_lost",
    "no_run_comes_of_nothing",
    "each_version_is_folded_once",
    "rows_are_what_the_log_says",
    "deleted_data_is_gone",
)


def judge(story: Story) -> list[Broken]:
    """What was not kept; nothing if all was."""
    case = Case(story)
    broken = [
        Broken(promise.__name__, what) for promise in PROMISES for what in promise(case)
    ] + list(rows.differences(case))
    return list(_some(broken))


def _some(broken: Iterable[Broken]) -> Iterator[Broken]:
    told: Counter[str] = Counter()
    for each in broken:
        told[each.promise] += 1
        if told[each.promise] <= TOLD:
            yield each
    for promise, count in told.items():
        if count > TOLD:
            yield Broken(promise, f"and {count - TOLD} more")


@dataclass(frozen=True, slots=True)
class Summary:
    """What a story comes to.

    verdicts: of the log's records. calls: of the workflow's code, by kind. counted: those of
    them whose result counts. repeated: those that were made again for the same try of the same
    thing, because a worker had died or did not know better. unended: those that were cut off.
    """

    runs: int
    records: int
    verdicts: Mapping[str, int]
    calls: Mapping[str, int]
    counted: Mapping[str, int]
    repeated: int
    unended: int

    @property
    def refused(self) -> int:
        """Records that changed nothing."""
        return self.records - self.verdicts.get(Verdict.ACCEPTED, 0)


def summary(story: Story) -> Summary:
    """How much of it was done, and how much more than once. At least once is promised, not how
    often at most."""
    case = Case(story)
    counted = Counter(
        need.kind
        for life in case.runs
        for moment in life.moments
        if (need := case.needs(life, moment)) is not None
    )
    tries = Counter(
        (call.kind, call.name, call.idempotency_key, call.attempt, _basis(case, call))
        for call in story.executed
    )
    return Summary(
        runs=sum(1 for _ in case.runs),
        records=sum(len(model.judged) for model in case.models.values()),
        verdicts=Counter(str(judged.verdict) for judged in case.judged),
        calls=Counter(call.kind for call in story.executed),
        counted=counted,
        repeated=len(story.executed) - len(tries),
        unended=sum(call.ended is None for call in story.executed),
    )


def _basis(case: Case, call: Executed) -> int:
    found = case.moment(call)
    return -1 if found is None or call.kind == "hook" else found[1].basis
