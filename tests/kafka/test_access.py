"""Workers on Kafka that want to know who asks: whichever is asked, and whoever has the run."""

import aiohttp

from streamwf import Client
from streamwf.access import EVERY, Identity, Role
from streamwf.adapters.web.tokens import entry_of, line_of, new_token
from streamwf.errors import NotAuthenticated, RoleMissing
from tests.kafka.cluster import Cluster, until
from tests.kafka.flows import orders

FOREIGN_IDS = [f"o-{number}" for number in range(12)]


async def test_who_asks_counts_at_every_worker(cluster: Cluster) -> None:
    tokens = {name: new_token() for name in ("viewer", "operator")}
    roles = {"viewer": Role.VIEWER, "operator": Role.OPERATOR}
    file = cluster.folder / "tokens"
    identities = {name: Identity(name, {EVERY: role}) for name, role in roles.items()}
    lines = (line_of(entry_of(tokens[name], identity)) for name, identity in identities.items())
    file.write_text("\n".join(lines))
    said = {"STREAMWF_WEB_TOKEN_FILE": str(file)}
    first, second = (cluster.worker(name, **said).start() for name in ("first", "second"))
    await until(lambda: min(w.says("worker_listens") for w in (first, second)) > 0, "both")

    async def ready() -> bool:
        async with aiohttp.ClientSession() as session:
            got = [await session.get(f"{worker.url}/readyz") for worker in (first, second)]
            return all(reply.status == 200 for reply in got)

    await until(ready, "both ready")
    async with (
        Client.over_http(first.url, token=tokens["operator"]) as operator,
        Client.over_http(first.url, token=tokens["viewer"]) as viewer,
        Client.over_http(second.url) as nobody,
    ):
        made = orders.object_type(item="book")
        ids = [await operator.trigger(orders, name, made, wait=True) for name in FOREIGN_IDS]
        page = await viewer.find()
        assert ({run.run_id for run in page.runs}, page.missing) == (set(ids), [])
        workers = {role.worker for role in (await viewer.roles()).roles}
        assert len(workers) == 2, "one worker has every run"
        for run_id in ids:
            history = await viewer.history(run_id)
            assert (history.events[0].type, history.events[0].by) == ("trigger", "operator")
            for refused, client in ((RoleMissing, viewer), (NotAuthenticated, nobody)):
                try:
                    await client.cancel(run_id)
                except refused:
                    continue
                raise AssertionError(f"{run_id} was cancelled")
    text = first.text() + second.text()
    assert text.count('"steered"') + text.count("steered ") >= len(FOREIGN_IDS)
    assert not [token for token in tokens.values() if token in text]
