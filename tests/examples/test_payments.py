"""The example of a connector, on a real topic."""

from collections import Counter

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from examples.payments import TOPIC, Payment, Status, payments
from streamwf import State, embedded
from streamwf.views import Filter
from tests.support import eventually

pytestmark = pytest.mark.kafka


async def send(brokers: str, values: list[bytes]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, num_partitions=2, replication_factor=1)])
    await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=brokers) as producer:
        for value in values:
            await producer.send_and_wait(TOPIC, value)


async def test_each_payment_is_booked_once_and_what_is_none_is_set_aside(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", kafka)
    told = [
        Payment(payment_id=f"p-{n}", account="nobody" if n % 10 == 9 else "ann", amount=n + 1)
        for n in range(50)
    ]
    values = [payment.model_dump_json().encode() for payment in told]
    await send(kafka, [*values[:25], b"no payment", *values[25:], values[0]])
    async with embedded(payments) as app:

        async def all_have_ended() -> bool:
            return await app.client.count(Filter(state=[State.COMPLETED])) >= 50

        await eventually(all_have_ended, within=30)
        runs = [run async for run in app.client.list(payments)]
        letters = app.host.logs["payments"].dead_letters
        await eventually(lambda: letters)
    ended = Counter(run.status for run in runs if run.object.payment_id != "p-0")
    assert ended == {Status.BOOKED: 44, Status.GIVEN_BACK: 5}
    assert b"no payment" in [aside.value for aside, _ in letters]
