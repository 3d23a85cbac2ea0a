import aiokafka.partitioner
from hypothesis import example, given
from hypothesis import strategies as st

from streamwf.adapters.kafka.murmur2 import murmur2


@given(key=st.binary(max_size=2_000))
@example(key=b"")
@example(key=b"\xff" * 255)
@example(key=b"\xff" * 256)
def test_keys_are_hashed_as_by_other_producers(key: bytes) -> None:
    assert murmur2(key) == aiokafka.partitioner.murmur2(key)
