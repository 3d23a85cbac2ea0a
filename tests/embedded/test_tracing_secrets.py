"""What is masked or sealed is in no span, whatever goes wrong."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from streamwf.redaction import MASK
from tests.cards import CARD, CODE, NEW_CARD, PIN, Payment, payments
from tests.cards import Status as Paying
from tests.embedded.kit import started
from tests.kafka.flows_encrypted import Person
from tests.kafka.flows_encrypted import Status as At
from tests.kafka.flows_encrypted import orders as secretive
from tests.tracing import Spans, collecting

MINUTE = timedelta(minutes=1)


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collecting() as collected:
        yield collected


async def test_nothing_that_is_masked_is_in_a_span(spans: Spans) -> None:
    workflow = payments()
    async with started(workflow) as app:
        # It is kept under that value, until a run comes that is known by it.
        await app.client.callback(
            workflow, "answer", {"code": CODE}, correlation=NEW_CARD, wait_for=MINUTE
        )
        run = await app.trigger(workflow, "p-1", Payment(do="fail"))
        await app.advance(MINUTE)
        asked = await app.trigger(workflow, "p-2", Payment())
        await app.await_status(asked, Paying.ASKED)
        await app.client.callback(
            workflow, "answer", {"code": CODE, "do": "fail"}, correlation=CARD
        )
        await app.advance(MINUTE)
        assert (await app.get(run)).status is Paying.FAILED
    [failed, *_] = spans.named("step payments.NEW")
    assert MASK in failed["events"][0]["attributes"]["exception.message"]
    assert MASK in failed["status"]["description"]
    assert spans.named("callback payments.answer")
    for secret in (CARD, NEW_CARD, CODE, str(PIN)):
        assert secret not in str(spans.all())


async def test_nothing_that_is_sealed_is_in_a_span(spans: Spans) -> None:
    secret = "alice@example.org"
    async with started(secretive) as app:
        run = await app.trigger(secretive, "o-1", Person(secret=secret))
        await app.advance(MINUTE)
        await app.await_status(run, At.ASKED)
        await app.client.callback(secretive, "answer", "mauve", correlation=secret)
        await app.settle()
    [failed, *_] = spans.named("step orders.CREATED")
    assert failed["events"][0]["attributes"] == {"exception.type": "ValueError"}
    assert failed["status"]["description"] == "ValueError"
    assert spans.named("callback orders.answer")
    assert secret not in str(spans.all())
