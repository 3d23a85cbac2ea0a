"""What docs/connectors.md shows is what happens."""

import json
import uuid
from pathlib import Path
from types import ModuleType

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic

from streamwf import State, embedded
from streamwf.adapters.kafka.topics import admin, create
from streamwf.embedded import EmbeddedApp
from streamwf.settings import Settings
from tests.docs.readme import ROOT, blocks
from tests.support import WITH_ASYNCIO, eventually, run_pytest

PAGE = (ROOT / "docs" / "connectors.md").read_text(encoding="utf-8")
INVOICES, TESTS, READINGS = blocks("python", PAGE)


def module(name: str, text: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), made.__dict__)
    return made


def test_the_functions_are_tested_alone(tmp_path: Path) -> None:
    (tmp_path / "invoices.py").write_text(INVOICES.text)
    (tmp_path / "test_invoices.py").write_text(TESTS.text)
    assert "2 passed" in run_pytest(tmp_path, "-o", "asyncio_mode=auto", *WITH_ASYNCIO)


async def test_a_file_is_read_as_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "readings.txt"
    file.write_text("gas 1.5\nwater 2\nnonsense\nhalf")
    page = module("readings", READINGS.text)
    async with embedded(page.readings) as app:

        async def found() -> dict[str, float]:
            runs = app.client.list(page.readings, state=State.COMPLETED)
            return {run.foreign_id: run.object["reading"] async for run in runs}

        await eventually(found)
        with file.open("a") as more:
            more.write(" 4\n")

        async def all_of_it() -> bool:
            return await found() == {"gas-8": 1.5, "water-16": 2.0, "half-32": 4.0}

        await eventually(all_of_it)
        [(letter, _)] = app.host.logs["readings"].dead_letters
        assert letter.value == b"nonsense\n"


async def test_topics_are_read(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}."
    monkeypatch.setenv("KAFKA_BROKERS", kafka)
    monkeypatch.delenv("STREAMWF_BROKERS", raising=False)
    page = module("invoices", INVOICES.text.replace('KafkaTopic("', f'KafkaTopic("{prefix}'))
    client = await admin(Settings(brokers=kafka))
    for topic in ("orders", "payments"):
        await create(client, NewTopic(f"{prefix}{topic}", 2, 1))
    await client.close()
    async with (
        embedded(page.invoices) as app,
        AIOKafkaProducer(bootstrap_servers=kafka) as producer,
    ):

        async def read() -> bool:
            known = await app.client.connectors(page.invoices)
            return [len(connector.partitions) for connector in known] == [2, 2]

        await eventually(read, within=30)
        # It begins after the latest: so it has to have begun.
        await eventually(lambda: begun(app), within=30)
        payment = json.dumps({"invoice": "i-1", "amount": 12}).encode()
        await producer.send_and_wait(f"{prefix}payments", payment, partition=1)
        order = json.dumps({"id": "i-1", "total": 12}).encode()
        await producer.send_and_wait(f"{prefix}orders", order, partition=0)

        async def paid() -> bool:
            invoice = await app.client.latest(page.invoices, "i-1")
            return invoice is not None and invoice.status is page.Status.PAID

        await eventually(paid, within=30)


async def begun(app: EmbeddedApp) -> bool:
    [workflow] = app.host.workflows.values()
    bank = (await app.client.connectors(workflow))[0]
    return all(part.position is not None for part in bank.partitions)
