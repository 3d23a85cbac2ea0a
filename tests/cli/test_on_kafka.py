"""The commands as they are used on Kafka, from the first trigger to a rebuild."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest
from aiokafka import TopicPartition

from streamwf.adapters.kafka.reader import consumer, read_to, stop_consumer
from streamwf.adapters.kafka.topics import Topics, ensure_topics
from streamwf.events import Event, decode_event, derived_id
from streamwf.settings import Settings

pytestmark = pytest.mark.kafka

STREAMWF = (sys.executable, "-m", "streamwf.cli")
TARGET = "tests.cli.sample"

#: Seconds that anything may take.
PATIENCE = 60.0


@pytest.fixture
def place(kafka: str, tmp_path: Path) -> tuple[str, ...]:
    """Topics of the test's own."""
    prefix = f"{tmp_path.name}."
    return ("--brokers", kafka, "--topic-prefix", prefix, "--partitions", "2")


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*STREAMWF, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@contextmanager
def worker(place: tuple[str, ...], folder: Path, target: str = TARGET) -> Iterator[str]:
    """The URL of a worker that is ready; it has to end with 0 when it is told to stop."""
    log = folder / "worker.log"
    flags = ("--data-dir", str(folder / "data"), "--web-port", "0")
    with log.open("wb") as output:
        command = [*STREAMWF, "worker", target, *place, *flags]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = wait_for(lambda: listening(log))
        wait_for(lambda: is_ready(url))
        yield url
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def listening(log: Path) -> str | None:
    for line in log.read_text().splitlines():
        if line.startswith("{") and json.loads(line)["event"] == "worker_listens":
            return str(json.loads(line)["url"])
    return None


def is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/readyz", timeout=PATIENCE):
            return True
    except OSError:
        return False


def wait_for(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come to be")


def test_from_triggers_to_a_rebuild(place: tuple[str, ...], tmp_path: Path) -> None:
    brokers_and_prefix = place[:4]
    lines = [json.dumps({"foreign_id": f"p-{n:03}", "object": {"weight": n}}) for n in range(200)]
    (tmp_path / "runs.jsonl").write_text("\n".join([*lines, "{"]))

    nowhere = call("trigger", "parcels", "p-0", *brokers_and_prefix)
    assert nowhere.returncode == 1
    assert "No workflow 'parcels' here" in nowhere.stderr

    with worker(place, tmp_path) as url:
        pile = ("trigger", "parcels", "--from", str(tmp_path / "runs.jsonl"))
        appended = call(*pile, *brokers_and_prefix)
        assert (appended.returncode, appended.stdout) == (1, "200 requested, 1 refused\n")
        assert appended.stderr.startswith("line 201: ")
        wait_for(lambda: ended(url) == 200)
        then = datetime.now(UTC).isoformat()
        one = call("trigger", "parcels", "p-200", "--data", "{}", *brokers_and_prefix)
        assert (one.returncode, one.stdout) == (0, "requested\n")
        wait_for(lambda: ended(url) == 201)

        refused = call("rebuild", TARGET, *place, "--data-dir", str(tmp_path / "other"))
        assert refused.returncode == 1
        assert "1 worker is running in the group" in refused.stderr

    verified = call("verify", TARGET, *place)
    assert verified.stdout == "parcels: 201 rows, all as the log leads to them\n"
    rebuilt = call("rebuild", TARGET, *place, "--data-dir", str(tmp_path / "data"), "--json")
    assert json.loads(rebuilt.stdout)["runs"] == 201
    assert call("verify", TARGET, *place).returncode == 0
    with worker(place, tmp_path) as url:
        assert ended(url) == 201

    as_it_was = call("replay", TARGET, "--until", then, "--json", *brokers_and_prefix)
    [told] = json.loads(as_it_was.stdout)["counts"].values()
    assert told == {"COMPLETED": 200}
    now = ("replay", TARGET, "--until", datetime.now(UTC).isoformat(), *brokers_and_prefix)
    assert json.loads(call(*now, "--run", "p-200", "--json").stdout)["foreign_id"] == "p-200"
    assert "there was no run 'p-201' then" in call(*now, "--run", "p-201").stderr


def ended(url: str) -> int:
    listed = call("runs", "list", "--state", "COMPLETED", "--limit", "1000", "--json", "--url", url)
    return len(json.loads(listed.stdout)["runs"])


@pytest.mark.timeout(300)
def test_at_three_in_the_morning(
    place: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who knows nothing of it finds the stuck run, sees why, and gets it going."""
    courier = tmp_path / "courier"
    monkeypatch.setenv("COURIER", str(courier))
    with worker(place, tmp_path, "tests.cli.couriers") as url:
        monkeypatch.setenv("STREAMWF_URL", url)
        names = [*(f"near-{n}" for n in range(20)), "abroad-1"]
        lines = [json.dumps({"foreign_id": name, "object": {"to": "Ada"}}) for name in names]
        (tmp_path / "letters.jsonl").write_text("\n".join(lines))
        sent = call("trigger", "letters", "--from", str(tmp_path / "letters.jsonl"))
        assert sent.stdout == "21 accepted, 0 refused\n"
        wait_for(lambda: "abroad-1" in call("runs", "list", "--state", "paused").stdout)

        [head, stuck] = call("runs", "list", "--state", "paused").stdout.splitlines()
        assert stuck.endswith("ConnectionError: no answer from the courier")
        run_id = stuck[head.index("RUN ID") :].split()[0]
        shown = call("runs", "show", run_id).stdout
        _, _, said = shown.rpartition("\n\n")
        assert said.startswith("Its step has failed 3 times in a row: ConnectionError: no answer")
        [command] = [
            line.rpartition("  ")[0].split() for line in said.splitlines() if "go on" in line
        ]
        assert command[:4] == ["streamwf", "runs", "resume", run_id]

        courier.touch()
        resumed = call(*command[1:], "--reason", "the courier is back")
        assert resumed.returncode == 0, resumed.stderr
        assert call("runs", "await", run_id, "--status", "COLLECTED").returncode == 0
        assert "the courier is back" in call("runs", "history", "letters/abroad-1").stdout
        assert call("runs", "count", "--state", "completed").stdout == "21\n"

        measured = call("bench", "letters", "--data", "{}", "--runs", "30", "--yes", "--json")
        assert json.loads(measured.stdout)["transitions"] == 60


def test_a_broker_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    nobody = ("--brokers", "127.0.0.1:1")
    commands = (
        ("worker", TARGET, *nobody, "--data-dir", str(tmp_path), "--web-port", "0"),
        ("verify", TARGET, *nobody),
        ("trigger", "parcels", "p-1", *nobody),
    )
    for command in commands:
        done = call(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Error: No Kafka broker answers at 127.0.0.1:1." in done.stderr
        assert "Traceback" not in done.stderr


def in_log(settings: Settings) -> list[Event]:
    """All that the log of parcels has."""

    async def read() -> list[Event]:
        log, found = consumer(settings), list[Event]()
        await log.start()
        try:
            topic = Topics.of("parcels", settings).events
            for partition in (TopicPartition(topic, number) for number in range(2)):
                end = (await log.end_offsets([partition]))[partition]
                async for records in read_to(log, partition, 0, end):
                    found += [event_of(record) for record in records]
        finally:
            await stop_consumer(log)
        return found

    return asyncio.run(read())


def event_of(record: Any) -> Event:
    event = decode_event(
        record.value,
        workflow="parcels",
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        limit=1_000_000,
    )
    assert event.subject == record.key.decode()
    return event


@pytest.fixture
def topics(kafka: str, tmp_path: Path) -> Settings:
    """Those of parcels, of which no worker knows."""
    settings = Settings(brokers=kafka, topic_prefix=f"{tmp_path.name}.", partitions=2)
    asyncio.run(ensure_topics(["parcels"], settings))
    return settings


def from_file(pile: Path, settings: Settings, *more: str) -> subprocess.CompletedProcess[str]:
    place = ("--brokers", settings.brokers, "--topic-prefix", settings.topic_prefix)
    return call("trigger", "parcels", "--from", str(pile), *place, *more)


def carried(event: Event) -> bytes:
    assert isinstance(event.data, msgspec.Raw)
    return bytes(event.data)


def test_a_file_goes_into_the_log_as_it_is_written(topics: Settings, tmp_path: Path) -> None:
    pile, written = tmp_path / "pile.jsonl", '{"weight": 24.90, "of": "\\u00e9\u00e9"}'
    lines = [
        f'{{"foreign_id": "p-1", "object": {written}, "status": "SENT", "key": "k"}}',
        '{"foreign_id": "p-1", "start_at": "2999-01-01T00:00:00+02:00"}',
    ]
    pile.write_text("\n".join(lines))
    for _ in range(2):
        assert from_file(pile, topics).stdout == "2 requested, 0 refused\n"
    keyed, later, again, once_more = in_log(topics)
    assert (carried(keyed), keyed.status) == (written.encode(), "SENT")
    assert keyed.runid == again.runid == derived_id("parcels", "p-1", "k")
    assert (carried(later), later.status) == (b"null", "")
    assert later.startat == datetime(2998, 12, 31, 22, tzinfo=UTC)
    assert len({keyed.runid, later.runid, once_more.runid}) == 3


def test_bad_lines_are_told_and_the_others_stay_in_order(topics: Settings, tmp_path: Path) -> None:
    pile = tmp_path / "pile.jsonl"
    lines = [
        *(json.dumps({"foreign_id": f"p-{n % 7}", "object": n}) for n in range(7_000)),
        '{"foreign_id": "p-1", "start_at": "2999-01-01T00:00:00"}',
        '{"foreign_id": "p-1", "object": }',
        '{"foreign_id": "p-1", "colour": "red"}',
        '{"foreign_id": "", "object": {}}',
        '{"foreign_id": "p-1", "object": 7000}',
    ]
    pile.write_text("\n".join(lines))
    told = from_file(pile, topics)
    assert (told.returncode, told.stdout) == (1, "7,001 requested, 4 refused\n")
    refused = [line.split(": ", 1) for line in told.stderr.splitlines()]
    assert [number for number, _ in refused] == [f"line {n}" for n in range(7_001, 7_005)]
    assert "it has no time zone" in refused[0][1]
    assert refused[2][1] == "colour: Extra inputs are not permitted"
    events = in_log(topics)
    for name in range(7):
        numbers = [int(carried(event)) for event in events if event.subject == f"p-{name}"]
        assert numbers == [*range(name, 7_000, 7), *([7_000] if name == 1 else [])]
    assert len({event.id for event in events}) == 7_001


def test_a_pile_that_stops_goes_on_where_nothing_is_left_out(
    topics: Settings, tmp_path: Path
) -> None:
    runs: list[dict[str, Any]] = [{"foreign_id": f"p-{n}", "object": {}} for n in range(13_000)]
    pile, lines = tmp_path / "pile.jsonl", ["not JSON", "", *map(json.dumps, runs)]
    too_large = json.dumps({"foreign_id": "p-12001", "object": "x" * 30_000_000})
    pile.write_text("\n".join([*lines[:12_003], too_large, *lines[12_004:]]))
    stopped = from_file(pile, topics)
    assert stopped.returncode == 1
    assert "10,000 requested, 1 refused" in stopped.stdout
    assert "--skip 10002" in stopped.stderr

    pile.write_text("\n".join(lines))
    gone_on = from_file(pile, topics, "--skip", "10002")
    assert gone_on.stdout == "3,000 requested, 0 refused\n"
    assert {run["foreign_id"] for run in runs} == {event.subject for event in in_log(topics)}
