"""What is made up of the API's document is answered as the document says."""

import pytest

from streamwf.adapters.web import handlers
from tests.web.harness import running
from tests.web.schema_run import made_up_requests


async def test_a_worker_answers_as_its_document_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "LONGEST_AWAIT", 0.1)
    async with running() as worker:
        worker.gate.set()
        for foreign_id in ("o-1", "o-2"):
            await worker.trigger(foreign_id)
        await made_up_requests(worker.url, 8)
        assert (await worker.get("/healthz")).status == 200
