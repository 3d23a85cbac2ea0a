"""Rates and breakers, apart from any engine."""

import itertools
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.pacing import Allowance, Breaker, Circuit, Rate
from tests.support import NOW, examples

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)

waits = st.one_of(st.integers(0, 2_000), st.integers(0, 3_000_000)).map(
    lambda many: timedelta(microseconds=many)
)


def started(allowance: Allowance, arrivals: list[timedelta]) -> list[datetime]:
    """When runs start that come so long after each other, each as soon as it may."""
    now, instants = NOW, []
    for wait in arrivals:
        now += wait
        now = allowance.free_at(now)
        assert allowance.free_at(now) == now, "it may start at the time that it was told"
        allowance.take(now)
        instants.append(now)
    return instants


def most_within(instants: list[datetime], per: timedelta) -> int:
    """How many there are in the fullest time of that length."""
    return max(sum(first <= each < first + per for each in instants) for first in instants)


# ---- a rate


@examples(200)
@given(st.integers(1, 12), st.integers(1, 3_000), st.lists(waits, min_size=1, max_size=60))
def test_a_rate_is_never_exceeded_in_any_time_of_its_length(
    runs: int, milliseconds: int, arrivals: list[timedelta]
) -> None:
    per = timedelta(milliseconds=milliseconds)
    instants = started(Rate(runs, per).share(0, 1), arrivals)
    assert most_within(instants, per) <= runs


def test_a_rate_is_used_to_the_full() -> None:
    instants = started(Rate(10, MINUTE).share(0, 1), [timedelta(0)] * 35)
    assert instants == [NOW + MINUTE * (number // 10) for number in range(35)]


def test_starts_that_are_remembered_together_are_forgotten_with_the_last_of_them() -> None:
    moment = timedelta(microseconds=900)
    instants = started(Rate(2).share(0, 1), [timedelta(0), moment, SECOND - moment])
    assert [each - NOW for each in instants] == [timedelta(0), moment, SECOND + moment]


def test_a_rate_of_very_many_remembers_few() -> None:
    window = Rate(100_000, MINUTE).share(0, 1)
    instants = started(window, [timedelta(microseconds=500)] * 100_000)
    assert len(window._starts) <= 1_001
    at_once = [each for each in instants if each - NOW <= MINUTE]
    assert len(at_once) == 100_000
    assert MINUTE <= window.free_at(instants[-1]) - NOW <= MINUTE * 1.002


@pytest.mark.parametrize(("runs", "shards"), [(10, 1), (10, 3), (12, 12), (100, 7)])
def test_the_shares_of_all_shards_are_the_rate(runs: int, shards: int) -> None:
    at_once = [
        sum(each == NOW for each in started(Rate(runs).share(shard, shards), [timedelta(0)] * runs))
        for shard in range(shards)
    ]
    assert sum(at_once) == runs
    assert max(at_once) - min(at_once) <= 1


@pytest.mark.parametrize(("runs", "shards"), [(1, 2), (5, 12), (7, 8), (3, 100)])
def test_fewer_runs_than_shards_take_turns(runs: int, shards: int) -> None:
    rate = Rate(runs, MINUTE)
    by_shard = [started(rate.share(shard, shards), [timedelta(0)] * 6) for shard in range(shards)]
    instants = sorted(each for starts in by_shard for each in starts)
    assert len(set(instants)) == len(instants), "no two at once"
    assert most_within(instants, MINUTE) <= runs + 1
    # Each has had six turns, one after the other, and the first of them within a round.
    round_ = MINUTE / runs * shards
    for starts in by_shard:
        assert starts[0] - NOW <= round_
        gaps = [later - sooner for sooner, later in itertools.pairwise(starts[1:])]
        assert all(abs(gap - round_) < timedelta(milliseconds=1) for gap in gaps)


@pytest.mark.parametrize("shards", [1, 8])
def test_a_clock_that_is_put_back_holds_nothing_up_for_long(shards: int) -> None:
    allowance = Rate(2, MINUTE).share(0, shards)
    started(allowance, [timedelta(0)] * 2)
    earlier = NOW - timedelta(hours=1)
    assert allowance.free_at(earlier) - earlier <= MINUTE / 2 * max(shards, 2)


# ---- a breaker


def failing(circuit: Circuit, times: int, now: datetime = NOW) -> None:
    for number in range(times):
        circuit.failed(circuit.begin(), now, f"Down: {number}")


def test_failures_in_a_row_hold_the_step() -> None:
    circuit = Circuit(Breaker(3, MINUTE))
    failing(circuit, 2)
    circuit.succeeded(circuit.begin())
    failing(circuit, 2)
    assert circuit.held is None
    assert circuit.free_at(NOW) == NOW
    failing(circuit, 1)
    assert circuit.held == (NOW + MINUTE, 3, "Down: 0")
    assert circuit.free_at(NOW) == NOW + MINUTE


def test_after_the_rest_one_is_tried_and_success_lets_all_go_on() -> None:
    circuit = Circuit(Breaker(1, MINUTE))
    failing(circuit, 1)
    later = NOW + MINUTE
    assert circuit.free_at(later) == later
    tried = circuit.begin()
    assert circuit.free_at(later) is None, "only one"
    assert circuit.held is not None
    circuit.succeeded(tried)
    assert circuit.held is None
    assert circuit.free_at(later) == later


def test_failure_of_the_one_that_is_tried_is_another_rest() -> None:
    circuit = Circuit(Breaker(2, MINUTE))
    failing(circuit, 2)
    later = NOW + 2 * MINUTE
    failing(circuit, 1, later)
    assert circuit.held == (later + MINUTE, 3, "Down: 0")
    circuit.succeeded(circuit.begin())
    failing(circuit, 1, later)
    assert circuit.held is None, "counted from none again"


def test_what_began_before_the_step_was_held_tells_nothing() -> None:
    circuit = Circuit(Breaker(1, MINUTE))
    good, bad = circuit.begin(), circuit.begin()
    failing(circuit, 1)
    circuit.succeeded(good)
    circuit.failed(bad, NOW + 10 * MINUTE, "late")
    assert circuit.held == (NOW + MINUTE, 1, "Down: 0")
    tried = circuit.begin()
    circuit.untold(good)
    assert circuit.free_at(NOW + MINUTE) is None, "the one that is tried is still at it"
    circuit.untold(tried)
    assert circuit.free_at(NOW + MINUTE) == NOW + MINUTE, "another is tried"


def test_no_clock_that_is_put_back_makes_a_rest_longer() -> None:
    circuit = Circuit(Breaker(1, MINUTE))
    failing(circuit, 1)
    earlier = NOW - timedelta(hours=1)
    assert circuit.free_at(earlier) == earlier + MINUTE
