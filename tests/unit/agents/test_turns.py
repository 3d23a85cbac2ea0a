"""When a shard has its checkpoint."""

import pytest

from streamwf.agents.host import BUSY, BUSY_TURNS, has_turn


@pytest.mark.parametrize("changed", [0, BUSY.start - 1, BUSY.stop])
def test_a_shard_with_few_rows_to_write_or_very_many_writes_them_now(changed: int) -> None:
    assert all(has_turn(changed, 3, turn) for turn in range(BUSY_TURNS))


def test_busy_shards_write_one_after_another() -> None:
    turns = [
        [shard for shard in range(BUSY_TURNS) if has_turn(BUSY.start, shard, turn)]
        for turn in range(BUSY_TURNS)
    ]
    assert sorted(turns) == [[shard] for shard in range(BUSY_TURNS)]
