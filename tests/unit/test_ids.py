import itertools
import uuid

from hypothesis import given
from hypothesis import strategies as st

from streamwf.ids import AT_ONCE, random_ids, run_id_of
from streamwf.views import Trigger

MANY = 20 * AT_ONCE


def test_random_ids_are_uuids_of_version_4_as_they_are_written() -> None:
    for made in itertools.islice(random_ids(), MANY):
        read = uuid.UUID(made)
        assert (read.version, read.variant, str(read)) == (4, uuid.RFC_4122, made)


def test_no_random_id_comes_twice() -> None:
    assert len(set(itertools.islice(random_ids(), MANY))) == MANY
    assert not set(itertools.islice(random_ids(), MANY)) & set(itertools.islice(random_ids(), MANY))


def test_all_that_can_be_random_of_an_id_is() -> None:
    seen = [uuid.UUID(made).int for made in itertools.islice(random_ids(), MANY)]
    always = never = (1 << 128) - 1
    for each in seen:
        always, never = always & each, never & ~each
    assert f"{always:032x}" == "00000000000040008000000000000000"
    assert f"{never:032x}" == "000000000000b0004000000000000000"


@given(key=st.text(min_size=1))
def test_a_key_leads_to_the_same_id_each_time(key: str) -> None:
    trigger = Trigger(foreign_id="ada", key=key)
    made = run_id_of("orders", trigger)
    assert run_id_of("orders", trigger, random_ids().__next__) == made
    assert run_id_of("parcels", trigger) != made
    assert run_id_of("orders", Trigger(foreign_id="eve", key=key)) != made
