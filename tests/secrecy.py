"""Where a secret could be read: the bytes of an embedded host, and the forms that it may have."""

import base64
from collections.abc import Iterator

import msgspec

from streamwf.embedded import EmbeddedHost
from streamwf.events import Event, encode_event
from streamwf.record import encode_record
from streamwf.vault import Vault


def raw(host: EmbeddedHost) -> Iterator[bytes]:
    """Every byte that would lie on a disk: logs, dead letters and tables."""
    for name, log in host.logs.items():
        yield from (part for record in log.records for part in (record.key, record.value) if part)
        yield from (aside.value for aside, _ in log.dead_letters)
        yield from (reason.encode() for _, reason in log.dead_letters)
        for shard in host.shards(name):
            yield from (key.encode() + encode_record(row) for key, row in shard.scan(""))


def tells(host: EmbeddedHost, *secrets: str) -> bool:
    """Whether any of it can be read there, as text or as base64."""
    wanted = [form for secret in secrets for form in forms(secret)]
    return any(form in part for part in raw(host) for form in wanted)


def forms(secret: str) -> list[bytes]:
    plain = secret.encode()
    # Base64 of it in the midst of something depends on where it begins.
    shifted = [base64.b64encode(b"x" * shift + plain)[4:-4] for shift in range(3)]
    return [plain, *shifted]


def events(host: EmbeddedHost, name: str, run_id: str) -> list[Event]:
    decode = msgspec.json.Decoder(Event).decode
    found = [decode(record.value) for record in host.logs[name].records if record.value]
    return [event for event in found if event.runid == run_id]


async def opened(host: EmbeddedHost, name: str, run_id: str) -> bytes:
    """All that whoever has the log and the keys can read of a run's events."""
    vault = Vault(name, host.key_provider)
    shown = [await vault.shown_event(event) for event in events(host, name, run_id)]
    return b"".join(encode_event(event) for event in shown)
