"""How far a recovery is, in a sentence for people."""

from streamwf.counting import counted


def recovery_told(shards: int, records: int, events: int) -> str:
    """shards: how many are being recovered. records: how many are left to read of the changelogs of
    those that are opened now. events: how many are left to fold."""
    told = f"{counted(shards, 'shard is/shards are')} being recovered"
    left = [f"{counted(records, 'record')} of changelogs to read"] if records else []
    left += [f"{counted(events, 'event')} to fold"] if events else []
    return f"{told}: {' and '.join(left)}" if left else told
