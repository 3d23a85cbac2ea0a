"""On Kafka, holding a partition is holding its roles."""

from collections import Counter

import aiohttp

from tests.kafka.cluster import PARTITIONS, Cluster, Worker, until

STATUSES = ("created", "picked", "packed")
EVERY_ROLE = {
    f"orders-{status}-consumer-{shard}-of-{PARTITIONS}"
    for status in STATUSES
    for shard in range(1, PARTITIONS + 1)
}


async def holders(worker: Worker) -> Counter[tuple[str, str]]:
    """(role, worker) of all workers, as one of them tells."""
    async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/api/v1/roles") as got:
        found = await got.json()
    # Who is being recovered does not work yet.

    live = [role for role in found["roles"] if role["health"] != "stopped"]
    return Counter((role["name"], role["worker"]) for role in live)


async def test_each_role_has_one_holder_and_another_when_that_dies(cluster: Cluster) -> None:
    first = cluster.worker("first").start()
    second = cluster.worker("second").start()
    await until(
        lambda: min(first.says("worker_listens"), second.says("worker_listens")) > 0, "both"
    )

    async def shared() -> bool:
        found = await holders(first)
        everybody = {worker for _, worker in found}
        return {role for role, _ in found} == EVERY_ROLE and len(everybody) == 2

    await until(shared, "every role, at two workers")
    found = await holders(first)
    assert len(found) == len(EVERY_ROLE), "a role has two holders"
    shards = {(role.partition("-consumer-")[2], worker) for role, worker in found}
    assert len(shards) == PARTITIONS, "roles of one shard have several holders"

    second.kill()

    async def alone() -> bool:
        found = await holders(first)
        return {role for role, _ in found} == EVERY_ROLE and len({w for _, w in found}) == 1

    await until(alone, "every role at the one that is left")
