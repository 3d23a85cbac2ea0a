"""What docs/security.md shows is what happens."""

import asyncio
import re
import sys
from types import ModuleType
from typing import Any, get_args

import pytest

from streamwf import errors
from streamwf.adapters.sql.engine import create
from streamwf.adapters.tls import MODES, PARAMETERS
from streamwf.errors import BrokerUnreachable, InvalidSettings
from streamwf.settings import KafkaSecurity, Settings, load
from tests.docs.readme import ROOT, blocks

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TOPIC, PAYMENTS, TEST = blocks("python", PAGE)
ENVIRONMENT, STORE = blocks("sh", PAGE)


def test_the_test_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("payments")
    monkeypatch.setitem(sys.modules, "payments", module)
    exec(compile(PAYMENTS.text, "payments.py", "exec"), module.__dict__)
    test: dict[str, Any] = {"__name__": "test_payments"}
    exec(compile(TEST.text, "test_payments.py", "exec"), test)
    asyncio.run(test["test_the_card_is_told_to_nobody"]())


def test_it_listens_where_it_says() -> None:
    fields = Settings.model_fields
    assert f"`{fields['web_host'].default}:{fields['web_port'].default}`" in PAGE


def test_every_way_to_connect_is_told() -> None:
    fields = KafkaSecurity.model_fields
    protocols = get_args(fields["kafka_security_protocol"].annotation)
    assert all(f"| `{protocol}` |" in PAGE for protocol in protocols)
    assert all(f"`{name}" in PAGE for name in fields)


def test_the_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    said = dict(re.findall(r"^export (\w+)=(\S+)$", ENVIRONMENT.text, re.MULTILINE))
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    found = {str(value) for value in load().model_dump(exclude_defaults=True).values()}
    assert found >= {value for value in said.values() if value != "SCRAM-SHA-512"}


def test_what_is_said_of_a_store_is_understood() -> None:
    url, _ = re.findall(r"^export \w+='?([^'\n]+)'?$", STORE.text, re.MULTILINE)
    with pytest.raises(InvalidSettings, match=r"sslrootcert: /etc/ssl/db-ca\.pem can't be read"):
        create(url, "database_url")
    assert all(f"`{name}`" in PAGE for name in PARAMETERS)
    assert all(f"`{mode}`" in PAGE for mode in MODES)


def test_a_topic_of_another_cluster() -> None:
    page: dict[str, Any] = {}
    exec(compile(TOPIC.text, "bank.py", "exec"), page)
    assert page["bookings"].security.kafka_username == "shop"


def test_each_reason_why_a_connection_fails_is_told() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, BrokerUnreachable)
    ]
    told = re.findall(r"^\| ([^`|]+?)(?: ….*?| `.*?)? \| `", PAGE, re.MULTILINE)
    for kind in kinds:
        sentence = " ".join((kind.__doc__ or "").split())
        assert [beginning for beginning in told if beginning in sentence], sentence
