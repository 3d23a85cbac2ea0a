"""`streamwf check`: what it says of definitions, and of live runs that they are held against."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import Result

from streamwf import agents
from streamwf.adapters.http import HttpGateway
from streamwf.errors import WorkflowNotFound
from streamwf.events import MOVED, Event, encode_event
from streamwf.record import Call, Record, State, encode_record
from streamwf.settings import Settings
from streamwf.views import Page, Query, run_view
from tests.cli.conftest import Cli
from tests.cli.sample import parcels
from tests.support import CANCEL, NOW, record, result, steer, trigger

pytestmark = pytest.mark.usefixtures("modules_as_before")

Write = Callable[[str, str], Path]

TARGET = "tests.cli.sample"

WORKFLOW = """\
from enum import Enum
from pydantic import BaseModel
from streamwf import Workflow

class Carried(BaseModel):
    {field}

Status = Enum("Status", "{statuses}")
workflow = Workflow("{name}", Carried, Status{options})

@workflow.step(Status.{first}, to=Status.{last})
async def go(run):
    return Status.{last}
"""


@pytest.fixture
def changed(write: Write) -> Callable[..., str]:
    """The target of a definition with one step."""
    numbers = itertools.count()

    def written(
        name: str = "parcels",
        statuses: str = "PACKED THERE",
        options: str = "",
        field: str = "model_config = {'extra': 'allow'}",
    ) -> str:
        first, *_, last = statuses.split()
        text = WORKFLOW.format(
            name=name, statuses=statuses, options=options, field=field, first=first, last=last
        )
        return str(write(f"changed_{next(numbers)}.py", text))

    return written


@pytest.fixture
def paused(over_http: Cli) -> Callable[[str], str]:
    """Starts a run that pauses at its first status, and gives its id."""

    def start(foreign_id: str) -> str:
        data = ("--data", '{"waits": true, "weight": 3}')
        run_id = over_http("trigger", "parcels", foreign_id, *data).stdout.strip()
        over_http("runs", "await", run_id)
        return run_id

    return start


def outcome(result: Result) -> Any:
    return json.loads(result.stdout)


# ---- the definition alone


def test_a_sound_definition_says_its_version(cli: Cli) -> None:
    result = cli("check", TARGET)
    assert (result.exit_code, result.stdout) == (
        0,
        f"parcels: sound, definition {parcels.definition}\n",
    )
    told = outcome(cli("check", TARGET, "--json"))
    assert told == {"workflow": "parcels", "definition": parcels.definition}


def test_a_version_may_be_given(cli: Cli, changed: Callable[..., str]) -> None:
    target = changed(options=", version='2.1'")
    assert cli("check", target).stdout == "parcels: sound, definition 2.1\n"


def test_a_definition_with_mistakes(cli: Cli, changed: Callable[..., str]) -> None:
    result = cli("check", changed(options=", renamed={'THERE': Status.PACKED}"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "renamed: THERE is still a status" in result.stderr


# ---- against a worker


def test_all_runs_of_a_worker_can_go_on(cli: Cli, url: str, paused: Callable[[str], str]) -> None:
    paused("p-1")
    result = cli("check", TARGET, "--against", url)
    assert result.exit_code == 0
    assert result.stdout == (
        f"parcels, definition {parcels.definition}: of 1 live run 1 can go on, 0 can't\n"
    )


def test_a_worker_has_runs_that_cant_go_on(
    cli: Cli, url: str, changed: Callable[..., str], paused: Callable[[str], str]
) -> None:
    ids = [paused(f"p-{number}") for number in range(5)]
    target = changed(statuses="BOXED THERE")
    result = cli("check", target, "--against", url)
    assert result.exit_code == 1
    head, row, summary = result.stdout.splitlines()
    assert "WHAT IS WRONG" in head
    assert row.split()[:3] == ["error", "5", "PACKED"]
    assert "there is no status PACKED any more" in row
    assert "renamed={'PACKED': STATUS}" in row
    assert row.endswith("p-0, p-1, p-2, …")
    assert summary.endswith("of 5 live runs 0 can go on, 5 can't")

    told = outcome(cli("check", target, "--against", url, "--json"))
    assert (told["live"], told["blocked"], told["unread"]) == (5, 5, [])
    [problem] = told["problems"]
    assert (problem["blocks"], problem["status"], problem["count"]) == (True, "PACKED", 5)
    assert [run["run_id"] for run in problem["runs"]] == ids

    mapped = changed(statuses="BOXED THERE", options=", renamed={'PACKED': Status.BOXED}")
    assert cli("check", mapped, "--against", url).exit_code == 0


def test_what_would_be_lost_is_only_a_warning(
    cli: Cli, url: str, changed: Callable[..., str], paused: Callable[[str], str]
) -> None:
    paused("p-1")
    result = cli("check", changed(field="weight: int"), "--against", url)
    assert result.exit_code == 0
    assert "warning" in result.stdout
    assert "its object has fails, which no field takes" in result.stdout


def test_runs_that_have_ended_are_not_looked_at(
    cli: Cli, over_http: Cli, url: str, changed: Callable[..., str]
) -> None:
    run_id = over_http("trigger", "parcels", "p-1", "--data", "{}").stdout.strip()
    over_http("runs", "await", run_id)
    result = cli("check", changed(statuses="BOXED ARRIVED"), "--against", url)
    assert result.exit_code == 0
    assert "of 0 live runs" in result.stdout


def test_a_worker_is_asked_page_by_page(
    cli: Cli, url: str, paused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamwf.cli.check.MAX_PAGE", 2)
    for number in range(5):
        paused(f"p-{number}")
    assert outcome(cli("check", TARGET, "--against", url, "--json"))["live"] == 5


def test_a_worker_that_cant_ask_all_others(
    cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = HttpGateway.find

    async def without_one(gateway: HttpGateway, query: Query) -> Page:
        return (await find(gateway, query)).model_copy(update={"missing": ["http://w:1"]})

    monkeypatch.setattr(HttpGateway, "find", without_one)
    result = cli("check", TARGET, "--against", url)
    assert result.exit_code == 1
    assert result.stderr == "these workers did not answer: http://w:1\n"


def test_nobody_answers_at_the_url(cli: Cli) -> None:
    result = cli("check", TARGET, "--against", "http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No worker answers" in result.stderr


# ---- against a file


def test_what_the_commands_write_is_read(
    over_http: Cli,
    cli: Cli,
    write: Write,
    changed: Callable[..., str],
    paused: Callable[[str], str],
) -> None:
    ids = [paused(f"p-{number}") for number in range(3)]
    target = changed(statuses="BOXED THERE")
    first = over_http("runs", "list", "--limit", "2", "--json").stdout
    incomplete = cli("check", target, "--against", str(write("runs.json", first)), "--json")
    assert outcome(incomplete)["blocked"] == 2
    cursor = json.loads(first)["cursor"]
    assert [one["why"] for one in outcome(incomplete)["unread"]] == [
        f"there are more runs: add what `runs list --cursor {cursor}` gives"
    ]

    rest = over_http("runs", "list", "--limit", "2", "--cursor", cursor, "--json").stdout
    told = outcome(cli("check", target, "--against", str(write("a", first + rest)), "--json"))
    assert (told["blocked"], told["unread"]) == (3, [])

    one_line = json.dumps(json.loads(first)["runs"]) + "\n" + json.dumps(json.loads(rest))
    told = outcome(cli("check", target, "--against", str(write("b", one_line)), "--json"))
    assert (told["blocked"], told["unread"]) == (3, [])

    shown = over_http("runs", "show", ids[0], "--json").stdout
    history = over_http("runs", "history", ids[1], "--json").stdout
    told = outcome(
        cli("check", target, "--against", "-", "--json", stdin=(shown + history).encode())
    )
    assert told["blocked"] == 2
    [problem] = told["problems"]
    assert [(run["run_id"], run["state"]) for run in problem["runs"]] == [
        (ids[0], "PAUSED"),
        (ids[1], "PAUSED"),
    ]


def lines(*documents: bytes | Event | Record) -> bytes:
    """A file with one document a line."""
    encoded = (
        encode_event(one)
        if isinstance(one, Event)
        else encode_record(one)
        if isinstance(one, Record)
        else one
        for one in documents
    )
    return b"\n".join(encoded) + b"\n"


@pytest.fixture
def against(cli: Cli, changed: Callable[..., str]) -> Callable[[bytes], Any]:
    """What is told of a file against a definition of orders that has lost PICKED."""
    target = changed(name="orders", statuses="CREATED DONE")

    def checked(file: bytes) -> Any:
        found = cli("check", target, "--against", "-", "--json", stdin=file)
        assert found.exit_code == bool(found_wrong(outcome(found)))
        return outcome(found)

    return checked


def found_wrong(told: Any) -> bool:
    return bool(told["blocked"] or told["unread"])


def moved(version: int = 1, status: str = "PICKED", **fields: Any) -> Event:
    return result(MOVED, version, status=status, **fields)


def test_the_events_of_a_topic_are_folded(against: Callable[[bytes], Any]) -> None:
    told = against(lines(trigger(), moved()))
    assert (told["live"], told["blocked"], told["unread"]) == (1, 1, [])
    [problem] = told["problems"]
    assert problem["runs"] == [{"foreign_id": "o-1", "run_id": "run-1", "state": "RUNNING"}]

    assert against(lines(trigger()))["blocked"] == 0
    assert against(lines(trigger(), moved(), steer(CANCEL, "c-1")))["live"] == 0
    told = against(lines(trigger(), moved(status="DONE", state=State.COMPLETED)))
    assert told["live"] == 0
    # What the log has refused changes nothing here either.
    told = against(lines(trigger(), moved(), moved(1, "CREATED"), trigger(event_id="t-2")))
    assert (told["live"], told["blocked"]) == (1, 1)


def test_more_events_than_are_folded_at_once(against: Callable[[bytes], Any]) -> None:
    triggers = [
        msgspec.structs.replace(trigger(), subject=f"o-{n}", runid=f"run-{n}") for n in range(1_200)
    ]
    told = against(lines(*triggers))
    assert (told["live"], told["blocked"]) == (1_200, 0)


def consumed(offset: int, payload: str | None, **fields: Any) -> bytes:
    """A line of `kcat -J`."""
    told = {"topic": "orders.events", "partition": 1, "offset": offset, "key": "o-1"}
    return json.dumps({**told, "ts": 1_893_553_445_678, "payload": payload, **fields}).encode()


def test_a_trigger_in_the_short_form_is_known_by_its_place(
    against: Callable[[bytes], Any],
) -> None:
    short = '{"type":"trigger","subject":"o-1","data":{}}'
    told = against(consumed(7, short))
    assert (told["live"], told["unread"]) == (1, [])

    # The run id that its first result has comes from the trigger's place.
    [run] = _runs_of(consumed(7, short))
    after = encode_event(moved(run_id=run)).decode()
    told = against(lines(consumed(7, short), consumed(8, after)))
    assert (told["live"], told["blocked"], told["unread"]) == (1, 1, [])

    told = against(lines(short.encode(), after.encode()))
    [unread] = told["unread"]
    assert "1 event of orders is of a run whose beginning is not in it" in unread["why"]
    assert "kcat -J" in unread["why"]


def _runs_of(line: bytes) -> list[str]:
    from streamwf.events import decode_event

    told = json.loads(line)
    event = decode_event(
        told["payload"].encode(),
        workflow="orders",
        partition=told["partition"],
        offset=told["offset"],
        timestamp_ms=told["ts"],
        limit=1_000_000,
    )
    return [event.runid]


def test_rows_are_read_too(against: Callable[[bytes], Any]) -> None:
    rows = [
        record(status="PICKED", version=4),
        record(status="CREATED", version=3, due_at=NOW),
    ]
    # Of a run the latest counts, wherever it stands.
    for order in (rows, rows[::-1]):
        told = against(lines(*order))
        assert (told["live"], told["blocked"]) == (1, 1)


def test_a_history_says_where_a_run_is(against: Callable[[bytes], Any]) -> None:
    def event(kind: str, version: int, **fields: Any) -> dict[str, Any]:
        told = {"offset": version, "id": str(version), "time": NOW.isoformat()}
        return {**told, "type": kind, "version": version, **fields}

    events = [event("trigger", 1, status="CREATED", object={}), event("moved", 2, status="PICKED")]
    paused = [*events, event("pause", 3), event("hooked", 4)]
    ended = [*paused, event("cancel", 5)]
    for history, states in ((events, ["RUNNING"]), (paused, ["PAUSED"]), (ended, [])):
        document = {"run_id": "run-1", "truncated": False, "events": history}
        found = against(json.dumps(document).encode())["problems"]
        assert [run["state"] for one in found for run in one["runs"]] == states


def test_an_answer_that_waits_is_told_of(against: Callable[[bytes], Any]) -> None:
    call = Call("c-1", "signed", NOW, NOW, msgspec.Raw(b"{}"))
    run = record(status="CREATED", due_at=NOW, calls=(call,))
    page = Page(runs=[run_view("orders", "CREATED", run)])
    for document in (lines(run), page.model_dump_json().encode()):
        [problem] = against(document)["problems"]
        assert problem["problem"].startswith("an answer to callback 'signed' waits")


def test_a_page_without_the_runs_of_a_worker(against: Callable[[bytes], Any]) -> None:
    [unread] = against(b'{"runs":[],"missing":["http://w:1"]}')["unread"]
    assert unread == {"line": 1, "why": "it is without the runs of http://w:1"}


def test_events_of_other_workflows_are_passed_over(against: Callable[[bytes], Any]) -> None:
    other = msgspec.structs.replace(trigger(), source="/workflows/parcels")
    assert against(lines(other, trigger()))["live"] == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"type":"trigger","subj', "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b'"text"', "it is neither a run"),
        (b'{"a":1}', "it is neither a run"),
        (b'{"runs":[{}]}', "runs.0.workflow: Field required"),
        (b'{"run_id":"r","truncated":false,"events":[]}', "it is a history without events"),
        (b'{"run_id":"r","version":"x"}', "Expected `int`, got `str`"),
        (b'{"type":"no-such","subject":"o-1"}', "there is no event type 'no-such'"),
        (b'{"type":"trigger","subject":""}', "A foreign id has 1 to 500 characters"),
        (consumed(3, None), "Input data was truncated"),
        (consumed(3, "[]"), "Expected `object`, got `array`"),
        (b'{"offset":"x","payload":"{}"}', "offset: Input should be a valid integer"),
    ],
)
def test_a_line_that_cant_be_read_is_told_with_its_number(
    against: Callable[[bytes], Any], line: bytes, why: str
) -> None:
    told = against(lines(trigger(), line, moved()))
    assert [(one["line"], why in one["why"]) for one in told["unread"]] == [(2, True)]
    assert (told["live"], told["blocked"]) == (1, 1)


def test_only_the_first_unread_lines_are_shown(cli: Cli, changed: Callable[..., str]) -> None:
    result = cli("check", changed(name="orders"), "--against", "-", stdin=b"{}\n" + b"x\n" * 30)
    assert result.exit_code == 1
    shown = result.stderr.splitlines()
    assert shown[0].startswith("line 1: it is neither")
    assert (len(shown), shown[-1]) == (21, "and 11 more")
    assert result.stdout.endswith("can't; others could not be read\n")


def test_a_broken_document_over_several_lines(against: Callable[[bytes], Any]) -> None:
    page = json.dumps({"runs": []}, indent=2)
    [unread] = against(f"{page}\n\n{page[:-2]}".encode())["unread"]
    assert unread["line"] == 5
    assert unread["why"].startswith("it is not JSON")


def test_an_empty_file_has_no_runs(against: Callable[[bytes], Any]) -> None:
    assert against(b"")["live"] == 0


def test_several_workflows_need_to_be_told_apart(
    cli: Cli, changed: Callable[..., str], write: Write
) -> None:
    two = (TARGET, changed(name="orders", statuses="CREATED DONE"))
    file = str(write("events", lines(trigger(), moved()).decode()))
    result = cli("check", *two, "--against", file)
    assert result.exit_code == 1
    assert "parcels, definition" in result.stdout
    assert "there is no status PICKED any more" in result.stdout

    short = str(write("short", '{"type":"trigger","subject":"o-1"}\n'))
    result = cli("check", *two, "--against", short)
    assert result.exit_code == 1
    assert result.stderr.count("does not say of which workflow it is") == 1


@pytest.mark.parametrize("path", ["no-such-file", "."])
def test_a_file_that_is_not_there(cli: Cli, path: str) -> None:
    result = cli("check", TARGET, "--against", path)
    assert result.exit_code == 2
    assert "Give kafka, store, the URL of a worker, or a file." in result.stderr


# ---- against the topics


def reading(answer: Exception | list[Record], seen: list[Settings]) -> Any:
    async def each_run(
        workflow: Any, settings: Settings, progress: Any, take: Callable[[Record], None]
    ) -> None:
        seen.append(settings)
        progress(0, 10)
        if isinstance(answer, Exception):
            raise answer
        for one in answer:
            take(one)

    return each_run


def test_the_topics_are_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    rows = [record(status="LOST"), record(State.COMPLETED, status="LOST")]
    monkeypatch.setattr(agents, "each_run", reading(rows, seen))
    place = ("--brokers", "kafka:1", "--topic-prefix", "t.")
    result = cli("check", TARGET, "--against", "kafka", *place)
    assert result.exit_code == 1
    assert "there is no status LOST any more" in result.stdout
    assert "of 1 live run 0 can go on, 1 can't" in result.stdout
    [settings] = seen
    assert (settings.brokers, settings.topic_prefix) == ("kafka:1", "t.")


def test_there_are_no_topics(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = WorkflowNotFound(workflow="parcels", known="")
    monkeypatch.setattr(agents, "each_run", reading(missing, []))
    result = cli("check", TARGET, "--against", "kafka")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No workflow 'parcels' here" in result.stderr


def test_options_of_the_brokers_are_for_kafka(cli: Cli) -> None:
    result = cli("check", TARGET, "--against", "-", "--brokers", "kafka:1")
    assert result.exit_code == 2
    assert "for --against kafka" in result.stderr
