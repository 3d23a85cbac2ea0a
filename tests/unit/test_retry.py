"""The retry policy."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.retry import Retry
from tests.support import examples

SECOND = timedelta(seconds=1)


def test_default_is_a_second_doubling_to_five_minutes_for_ever() -> None:
    delays = [Retry().delay(attempt, 0.0).total_seconds() for attempt in range(1, 12)]
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert not Retry().exhausted(10**9)


def test_attempts_are_all_tries_not_retries() -> None:
    assert [Retry(attempts=3).exhausted(n) for n in (1, 2, 3, 4)] == [False, False, True, True]


@examples(300)
@given(
    initial=st.integers(0, 10_000),
    extra=st.integers(0, 10_000),
    factor=st.floats(1, 100),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, 5_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_delays_stay_between_their_bounds_and_never_shrink(
    initial: int, extra: int, factor: float, jitter: float, attempt: int, chance: float
) -> None:
    policy = Retry(initial * SECOND, factor, (initial + extra) * SECOND, jitter)
    assert policy.mistakes() == []
    full = policy.delay(attempt, 0.0)
    assert policy.initial <= full <= policy.maximum
    assert full <= policy.delay(attempt + 1, 0.0)
    shorter = policy.delay(attempt, chance)
    assert full * (1 - jitter) - timedelta(microseconds=2) <= shorter <= full


def test_no_delay_stays_no_delay_however_often() -> None:
    assert Retry(initial=timedelta(0)).delay(5_000, 0.0) == timedelta(0)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Retry(initial=-SECOND), "0 <= initial <= maximum"),
        (Retry(initial=SECOND, maximum=SECOND / 2), "0 <= initial <= maximum"),
        (Retry(factor=0.5), "factor >= 1"),
        (Retry(jitter=1.5), "jitter between 0 and 1"),
        (Retry(jitter=-0.1), "jitter between 0 and 1"),
        (Retry(attempts=0), "attempts >= 1"),
    ],
)
def test_mistakes_say_what_is_needed(wrong: Retry, says: str) -> None:
    [mistake] = wrong.mistakes()
    assert says in mistake
