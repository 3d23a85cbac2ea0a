"""Dead letters in a database."""

import pytest

from tests.letters import TOO_LARGE, sent_again, settled
from tests.stored.conftest import Crowds


@pytest.mark.timeout(120)
async def test_of_a_stream_in_a_database(crowd_on: Crowds, sqlite_url: str) -> None:
    crowd = crowd_on(sqlite_url)
    only = crowd.process("only").start()
    await crowd.ready(only)
    await crowd.produce([(b"key", b"nonsense"), (b"key", TOO_LARGE)])
    await settled(only, only, only)
    await crowd.ready(only)
    await sent_again(only)
