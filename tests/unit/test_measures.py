"""What is counted for metrics: histograms, and how many kinds of errors are told apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf.events import trace_id_of
from streamwf.measures import BOUNDS, MAX_ERRORS, OTHER, Histogram, Measures
from tests.support import NOW, examples

ID = "0af7651916cd43dd8448eb211c80319c"

SECONDS = st.one_of(st.floats(0, 400), st.sampled_from(BOUNDS))


@examples(200)
@given(st.lists(SECONDS))
def test_many_at_once_count_as_one_by_one(values: list[float]) -> None:
    single, together = Histogram(), Histogram()
    for value in values:
        single.observe(value)
    together.observe_all(values)
    assert together.counts == single.counts
    assert together.total == pytest.approx(single.total)
    for bucket, bound in enumerate(BOUNDS):
        assert sum(single.counts[: bucket + 1]) == sum(value <= bound for value in values)
    assert sum(single.counts) == len(values)


def test_the_latest_example_of_a_bucket_is_kept() -> None:
    histogram = Histogram()
    for trace, seconds in (("a", 0.002), ("b", 0.0025), ("c", 1_000.0)):
        histogram.exemplify(trace, seconds, NOW)
    assert histogram.exemplars == {1: ("b", 0.0025, NOW), len(BOUNDS): ("c", 1_000.0, NOW)}


def test_types_of_errors_are_bounded() -> None:
    measures = Measures()
    for number in range(MAX_ERRORS + 10):
        measures.failed("CREATED", "step", f"Error{number}")
    measures.failed("PICKED", "step", "Error0")
    assert len(measures.errors) == MAX_ERRORS + 2
    assert measures.errors["CREATED", "step", OTHER] == 10
    assert measures.errors["PICKED", "step", "Error0"] == 1


@pytest.mark.parametrize(
    ("traceparent", "trace_id"),
    [
        (f"00-{ID}-b7ad6b7169203331-01", ID),
        (f"01-{ID}-b7ad6b7169203331-01-more", ID),
        ("", ""),
        ("00-x", ""),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", ""),
        (f"00-{ID}-b7ad6b7169203331", ""),
    ],
)
def test_the_trace_of_an_event(traceparent: str, trace_id: str) -> None:
    assert trace_id_of(traceparent) == trace_id
