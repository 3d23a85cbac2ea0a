"""What docs/callbacks.md shows is what happens."""

import contextlib
import io
import json
import shlex
import sys
from types import ModuleType
from typing import get_args

import click
import pytest

from streamwf import errors
from streamwf.adapters.problems import status_of
from streamwf.callback_views import CallbackRequest, Outcome
from streamwf.cli import main
from streamwf.record import MAX_CALLS
from streamwf.testing import engine
from tests.docs.readme import ROOT, blocks
from tests.web.test_problems import example

PAGE = (ROOT / "docs" / "callbacks.md").read_text(encoding="utf-8")
LOANS, MAIN, TEST = blocks("python", PAGE)


@pytest.fixture
def loans(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("loans")
    monkeypatch.setitem(sys.modules, "loans", module)
    exec(compile(LOANS.text, "loans.py", "exec"), module.__dict__)
    return module


def test_the_test_passes(loans: ModuleType) -> None:
    tests: dict[str, object] = {"__name__": "test_loans"}
    exec(compile(TEST.text, "test_loans.py", "exec"), tests)
    tests["test_sign_too_late"]()  # type: ignore[operator]


def test_the_example_prints_what_the_page_shows(loans: ModuleType) -> None:
    [shown] = blocks("text", PAGE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(MAIN.text, "main.py", "exec"), {"__name__": "main"})
    assert printed.getvalue() == shown.text


def test_the_body_is_a_request() -> None:
    asked = CallbackRequest.model_validate_json(blocks("json", PAGE)[0].text, strict=True)
    assert (asked.name, asked.foreign_id, asked.wait_for) == ("sign", "loan-7", 3600)


async def test_the_records_are_answers(loans: ModuleType) -> None:
    """Each leads where it should, if it comes at the right time."""
    by_name, scan, booked, early, by_value = blocks("json", PAGE)[1].text.splitlines()
    expected = {by_name: "SIGNED", scan: "SIGNED", by_value: "SIGNED"}
    for record, status in expected.items():
        async with engine(loans.loans) as app:
            loan = loans.Loan(email="ann@example.org", amount=500)
            run = await app.trigger(loans.loans, "loan-7", loan)
            await app.settle()
            for value in (record, booked, booked):
                app.host.logs["loans"].append(None, value.encode(), 0)
                await app.settle()
                found = (await app.get(run)).status.name
                assert found == (status if value is record else "PAID_OUT")
    async with engine(loans.loans) as app:
        app.host.logs["loans"].append(None, early.encode(), 1_893_456_000_000)
        await app.settle()
        bob = loans.Loan(email="bob@example.org", amount=900)
        run = await app.get(await app.trigger(loans.loans, "loan-8", bob))
        assert run.object.signed_by == "Bob"


def test_the_attributes_are_those_of_an_event() -> None:
    records = map(json.loads, blocks("json", PAGE)[1].text.splitlines())
    for name in {name for record in records for name in record} - {"type", "kind"}:
        assert f"`{name}`" in PAGE


def test_the_commands_exist() -> None:
    [shown] = blocks("sh", PAGE)
    for line in shown.text.replace("--file paper.pdf", "--file -").splitlines():
        _, command, *words = shlex.split(line)
        with main.commands[command].make_context(command, words):
            pass
    assert isinstance(main, click.Group)


def test_every_outcome_and_error_is_told() -> None:
    for outcome in get_args(Outcome):
        assert f"`{outcome}`" in PAGE
    told = {}
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 5 and cells[2].isdigit():
            told |= dict.fromkeys(cells[1].replace("`", "").split(", "), int(cells[2]))
    assert set(told) > {"NotWaiting", "InvalidPayload", "CallbackFailed", "TooManyCallbacks"}
    for name, status in told.items():
        assert status_of(example(getattr(errors, name))) == status
    assert f"holds {MAX_CALLS} callbacks" in PAGE
