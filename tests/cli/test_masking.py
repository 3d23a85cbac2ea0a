"""Masked fields on the command line: nothing that it writes tells them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamwf import agents
from streamwf.comparing import Difference, Verified
from streamwf.record import (
    CORRELATION,
    NOTHING,
    Call,
    Child,
    Failure,
    Record,
    State,
    encode_record,
    row_key,
)
from streamwf.redaction import MASK
from tests.cards import CARD, CODE, NEW_CARD, SECRETS, payments, receipts, secret
from tests.cli.conftest import Cli, served
from tests.support import NOW

MODULE = """
from tests.cards import payments
workflow = payments()
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    path = tmp_path / "flow.py"
    path.write_text(MODULE)
    return str(path)


@pytest.fixture
def written(cli: Cli) -> Iterator[Cli]:
    """The command line on `payments`; whatever it writes is looked through."""
    said: list[str] = []

    with served(payments(), receipts()) as url:

        def run(*arguments: str, **more: Any) -> Any:
            result = cli(*arguments, "--url", url, **more)
            said.extend((" ".join(arguments), result.output, result.stderr))
            return result

        run.url = url  # type: ignore[attr-defined]
        yield run
    found = [text for text in said[1:] if any(secret in text for secret in SECRETS)]
    assert [text for text in found if text not in said[::3]] == []


def test_no_command_tells_what_is_masked(written: Cli) -> None:
    for foreign_id, do in (("o-1", "go"), ("o-2", "fail"), ("o-3", "pause")):
        data = json.dumps({**secret(), "do": do})
        result = written("trigger", "payments", foreign_id, "--data", data)
        assert result.exit_code == 0, result.output
    written("runs", "await", "payments/o-1", "--status", "ASKED", "--timeout", "5")
    written("runs", "await", "payments/o-2", "--status", "FAILED", "--timeout", "5")
    data = json.dumps({"code": CODE, "do": "fail"})
    answered = written("callback", "payments", "answer", "--foreign-id", "o-1", "--data", data)
    assert f"code='{MASK}'" in answered.output
    for foreign_id in ("o-1", "o-2", "o-3"):
        for command in ("show", "history"):
            shown = written("runs", command, f"payments/{foreign_id}")
            assert shown.exit_code == 0
            as_json = written("runs", command, f"payments/{foreign_id}", "--json")
            assert json.loads(as_json.stdout)
    assert f'"card": "{MASK}"' in written("runs", "show", "payments/o-1").stdout
    for arguments in (["list"], ["list", "--json"], ["count"], ["pause", "payments/o-1"]):
        assert written("runs", *arguments).exit_code == 0
    for arguments in (["list", "payments"], ["list", "payments", "--json"]):
        assert written("schedules", *arguments).exit_code == 0


def test_a_check_over_http_looks_at_no_masked_object(cli: Cli, written: Any, target: str) -> None:
    written("trigger", "payments", "o-1", "--data", json.dumps({}))
    checked = cli("check", target, "--against", written.url)
    assert checked.exit_code == 0
    assert "its object has masked fields, which were not looked at" in checked.output


def row(**changed: Any) -> str:
    record = Record(
        foreign_id="o-1",
        run_id="r-1",
        status="ASKED",
        state=State.RUNNING,
        version=2,
        object=msgspec.Raw(msgspec.json.encode(secret())),
        created_at=NOW,
        updated_at=NOW,
        reason=f"for {CARD}",
        error=Failure("ValueError", CARD, CARD),
        calls=(Call("c", "answer", NOW, NOW, msgspec.Raw(json.dumps(CODE).encode()), CODE),),
        children=(
            Child("w", "c-1", "c", "", "", CARD, msgspec.Raw(json.dumps(NEW_CARD).encode())),
        ),
        correlations=f"answer={CARD}",
    )
    return encode_record(msgspec.structs.replace(record, **changed)).decode()


def test_verify_shows_differences_without_what_is_masked(
    cli: Cli, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = f"answer={CARD}"
    of_value = row(kind=CORRELATION, foreign_id=value, object=NOTHING, reason="", children=())
    found = [
        Difference(1, "o-1", row(), row(version=3)),
        Difference(2, row_key(CORRELATION, value), of_value, None),
        Difference(3, "o-3", row(object=msgspec.Raw(b'{"card":"4111-1111-2222"}')), CARD),
    ]

    async def verify(*given: Any) -> Verified:
        return Verified(3, 0, found)

    monkeypatch.setattr(agents, "verify", verify)
    for flags in ([], ["--json"]):
        result = cli("verify", target, *flags)
        assert result.exit_code == 1
        for word in ("ASKED", "for ", "o-1"):
            assert word in result.stdout
        assert [secret for secret in SECRETS if secret in result.output] == []


def test_replay_shows_runs_without_what_is_masked(
    cli: Cli, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def replay(*given: Any) -> int:
        *_, take = given
        take(msgspec.json.decode(row(), type=Record))
        return 1

    monkeypatch.setattr(agents, "replay", replay)
    for flags in ([], ["--json"]):
        result = cli("replay", target, "--until", NOW.isoformat(), "--run", "o-1", *flags)
        assert result.exit_code == 0
        assert "ValueError" in result.stdout
        assert [secret for secret in SECRETS if secret in result.output] == []
