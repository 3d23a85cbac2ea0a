"""A role as its holder has it."""

import asyncio

from streamwf.adapters.roles.claim import Claim, elapsed


async def test_it_is_lost_when_its_time_is_over() -> None:
    claim = Claim("role", 1, elapsed() + 0.05)
    assert claim.held
    await asyncio.wait_for(claim.lost(), 60)
    assert not claim.held


async def test_what_is_lost_stays_lost() -> None:
    late, ended = Claim("role", 1, elapsed() - 1), Claim("role", 2, elapsed() + 60)
    ended.lose()
    for claim in (late, ended):
        claim.renew(elapsed() + 60)
        assert not claim.held
        await asyncio.wait_for(claim.lost(), 60)


async def test_a_renewal_puts_it_off_for_those_who_wait() -> None:
    claim = Claim("role", 1, elapsed() + 0.05)
    waiting = asyncio.create_task(claim.lost())
    await asyncio.sleep(0)
    claim.renew(elapsed() + 60)
    await asyncio.wait([waiting], timeout=0.2)
    assert not waiting.done()
    claim.lose()
    await asyncio.wait_for(waiting, 60)
