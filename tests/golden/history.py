"""Golden histories: what earlier versions have written, kept as they wrote it.

Each folder below here, by its number, is of one generation of formats, and holds some workflows:

- `NAME.log.jsonl`: the records of the log;
- `NAME.changelog.jsonl`: those of the changelog, the rows of each checkpoint and its marker;
- `NAME.timers.jsonl`: the keys of the timer table at the end;
- `NAME.keys.jsonl`: the records of the topic of keys, of workflows that encrypt.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamwf.embedded import MemoryRecord
from streamwf.ports import Key
from streamwf.tables.changelog import ChangelogRecord
from streamwf.tables.keys import DESTROYED, KeyTable, fresh_key, record_key

HERE = Path(__file__).parent

#: The hashes of all files that were ever written, by their paths below here.
MANIFEST = "manifest.json"

LOG, CHANGELOG, TIMERS, KEYS = "log", "changelog", "timers", "keys"


@dataclass(frozen=True)
class History:
    """What is kept of a workflow."""

    log: Sequence[MemoryRecord]
    changelog: Sequence[ChangelogRecord]
    timers: Sequence[bytes]
    keys: Sequence[MemoryRecord]


class Keys:
    """Keys of runs, and the records that they would leave. Implements `ports.KeyProvider`."""

    def __init__(self, records: Iterable[MemoryRecord] = ()) -> None:
        self.records: list[MemoryRecord] = []
        self._table = KeyTable()
        for record in records:
            self._add(record.key or b"", record.value)

    def _add(self, key: bytes, value: bytes | None) -> None:
        self.records.append(MemoryRecord(len(self.records), key, value, 0))
        self._table.apply(key, value, 0)

    async def obtain(self, workflow: str, foreign_id: str, run_id: str) -> Key:
        key = self._table.first(foreign_id, run_id)
        if key is None:
            key = fresh_key()
            self._add(record_key(foreign_id, run_id, key.id), key.secret)
        return key

    async def get(self, workflow: str, foreign_id: str, run_id: str, key_id: str) -> Key | None:
        return self._table.get(foreign_id, run_id, key_id)

    async def destroy(self, workflow: str, foreign_id: str, run_id: str) -> None:
        self._add(record_key(foreign_id, run_id), DESTROYED)


# ---- files


def generations(place: Path = HERE) -> list[Path]:
    """The folders, the oldest first."""
    return sorted(
        (each for each in place.iterdir() if each.name.isdigit()), key=lambda each: int(each.name)
    )


def names(folder: Path) -> list[str]:
    """Of the workflows that a folder has."""
    return sorted(each.name.removesuffix(f".{LOG}.jsonl") for each in folder.glob(f"*.{LOG}.jsonl"))


def read(folder: Path, name: str) -> History:
    return History(
        log=[MemoryRecord(**each) for each in _lines(folder, name, LOG)],
        changelog=[ChangelogRecord(**each) for each in _lines(folder, name, CHANGELOG)],
        timers=[each["key"] for each in _lines(folder, name, TIMERS)],
        keys=[MemoryRecord(**each) for each in _lines(folder, name, KEYS)],
    )


def write(folder: Path, name: str, history: History) -> None:
    files: dict[str, list[Mapping[str, Any]]] = {
        LOG: [_record(each) for each in history.log],
        CHANGELOG: [each._asdict() for each in history.changelog],
        TIMERS: [{"key": each} for each in history.timers],
        KEYS: [_record(each) for each in history.keys],
    }
    folder.mkdir(exist_ok=True)
    for kind, records in files.items():
        lines = [json.dumps({at: _told(value) for at, value in r.items()}) for r in records]
        (folder / f"{name}.{kind}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _record(record: MemoryRecord) -> Mapping[str, Any]:
    return {
        "offset": record.offset,
        "key": record.key,
        "value": record.value,
        "timestamp": record.timestamp,
    }


def _lines(folder: Path, name: str, kind: str) -> list[dict[str, Any]]:
    text = (folder / f"{name}.{kind}.jsonl").read_text()
    return [
        {at: _meant(value) for at, value in json.loads(line).items()} for line in text.splitlines()
    ]


def _told(value: object) -> object:
    """Bytes as text, if they are one; else in base64."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _meant(value: object) -> object:
    if isinstance(value, dict):
        return base64.b64decode(value["base64"])
    return value.encode() if isinstance(value, str) else value


# ---- what may never change


def hashes(place: Path = HERE) -> dict[str, str]:
    """Of every file there is, by its path."""
    return {
        path.relative_to(place).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in generations(place)
        for path in sorted(folder.iterdir())
    }


def manifest(place: Path = HERE) -> dict[str, str]:
    path = place / MANIFEST
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def altered(place: Path = HERE) -> list[str]:
    """The files that are not as they were written, or that are there without having been."""
    was, now = manifest(place), hashes(place)
    return sorted(path for path in was.keys() | now.keys() if was.get(path) != now.get(path))
