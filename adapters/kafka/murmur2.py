"""Kafka's hash of a key, at half the cost of aiokafka's or less: it takes four bytes at a time."""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct

_SEED, _FACTOR, _WORD = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """The same as `aiokafka.partitioner.murmur2`."""
    length = len(key)
    words = length >> 2
    found = _SEED ^ length
    for word in _reader(words)(key):
        word = word * _FACTOR & _WORD
        found = (found * _FACTOR ^ (word ^ word >> 24) * _FACTOR) & _WORD
    if length & 3:
        found = (found ^ int.from_bytes(key[words << 2 :], "little")) * _FACTOR & _WORD
    found = (found ^ found >> 13) * _FACTOR & _WORD
    return found ^ found >> 15


@lru_cache
def _reader(words: int) -> Callable[[bytes], tuple[int, ...]]:
    """What reads so many words of four bytes from the start of a key."""
    return Struct(f"<{words}I").unpack_from
