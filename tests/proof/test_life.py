"""The model that proofs judge by, held against the fold: two tellings of the same logs."""

from hypothesis import given

from streamwf.embedded import MemoryRecord
from streamwf.events import encode_event
from tests.proof.model import Model
from tests.proof.rows import compared
from tests.support import WORKFLOW
from tests.unit.any_log import Model as Folded
from tests.unit.any_log import logs


@given(logs)
def test_whatever_a_log_says_both_say_the_same(folded: Folded) -> None:
    records = [MemoryRecord(n, None, encode_event(e), 0) for n, e in enumerate(folded.log)]
    model = Model(WORKFLOW, 0, {}).read(records)
    assert model.rows.keys() == folded.rows.keys()
    for key, row in folded.rows.items():
        assert list(compared(key, row, model.rows[key])) == []
