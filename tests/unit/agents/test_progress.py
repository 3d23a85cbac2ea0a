"""How far a recovery is, as people are told."""

import pytest

from streamwf.agents.progress import recovery_told


@pytest.mark.parametrize(
    ("shards", "records", "events", "told"),
    [
        (1, 0, 0, "1 shard is being recovered"),
        (2, 1_234, 0, "2 shards are being recovered: 1,234 records of changelogs to read"),
        (2, 0, 1, "2 shards are being recovered: 1 event to fold"),
        (
            *(8, 5, 6),
            "8 shards are being recovered: 5 records of changelogs to read and 6 events to fold",
        ),
    ],
)
def test_it_says_what_is_left(shards: int, records: int, events: int, told: str) -> None:
    assert recovery_told(shards, records, events) == told
