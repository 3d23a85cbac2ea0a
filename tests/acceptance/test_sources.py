"""1 connector and schedule: what starts runs without being asked."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from streamwf import RunInfo, State
from streamwf.errors import InvalidCron, ScheduleDeclared, ScheduleNotFound
from streamwf.views import Filter
from tests.acceptance.flows.carried import DONE, WAITING, Status
from tests.acceptance.flows.connected import connected
from tests.acceptance.flows.reports import Report, reports
from tests.acceptance.hosts import Host
from tests.acceptance.kafka_host import KafkaHost
from tests.acceptance.rows import only, row

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HALF_AN_HOUR = timedelta(minutes=30)
DAILY = "half-past-two"

#: Of @every 1s; some of these seconds are spent before a schedule is there.
SOME_SECONDS = 4 * SECOND


# ---- connectors


async def arrived(host: Host, foreign_id: str, status: Status = WAITING) -> list[str]:
    """The trail of a run, once it is there."""

    async def there() -> bool:
        run = await host.client.latest(connected, foreign_id)
        return run is not None and run.status is status

    await host.until(there)
    run = await host.client.latest(connected, foreign_id)
    assert run is not None
    return run.object.trail


@row("under faults", "A message of a connector leads to its run, whatever shard that is of.")
@row("1 connector", "A foreign stream starts runs, of any shard, and calls them back.")
async def test_messages_start_and_call_back(host: Host, name: str) -> None:
    host.feed(json.dumps({"start": [f"{name}-{number}" for number in range(5)]}))
    for number in range(5):
        assert await arrived(host, f"{name}-{number}") == ["feed", "received"]
    host.feed(json.dumps({"pay": [f"{name}-0", f"{name}-1"], "start": [f"{name}-5"]}))
    for number in range(2):
        assert await arrived(host, f"{name}-{number}", DONE) == ["feed", "received", "cash"]
    await arrived(host, f"{name}-5")


@row("1 connector", "A message that can't be used is set aside with its error, and the rest go on.")
async def test_a_poison_message(host: Host, name: str) -> None:
    host.feed(f"poison for {name}")
    host.feed(json.dumps({"start": [name]}))

    async def passed_over() -> bool:
        # It is tried several times, and when its file is looked at is not up to the clock.
        await host.pass_time(SECOND / 5)
        return await host.client.latest(connected, name) is not None

    await host.until(passed_over)
    await arrived(host, name)
    letters = [
        letter.reason
        for letter in await host.dead_letters(connected)
        if f"poison for {name}".encode() in letter.value
    ]
    assert len(letters) == 1
    assert "ValueError" in letters[0]


@row("1 connector", "A Kafka topic is such a stream; its messages need no key.")
@only("kafka")
async def test_a_topic(host: KafkaHost, name: str) -> None:
    await host.tell(json.dumps({"start": [name]}).encode())
    [source, *_] = await arrived(host, name)
    assert source.startswith("kafka:")
    await host.tell(b"\xff\xfe" + name.encode())
    await host.tell(json.dumps({"pay": [name]}).encode())
    assert (await arrived(host, name, DONE))[1:] == ["received", "cash"]

    async def set_aside() -> bool:
        letters = await host.dead_letters(connected)
        return any(letter.value == b"\xff\xfe" + name.encode() for letter in letters)

    await host.until(set_aside)


# ---- schedules


async def runs(host: Host, name: str) -> list[RunInfo[Report, Status]]:
    return [run async for run in host.client.list(reports, prefix=name)]


def slots(found: list[RunInfo[Report, Status]]) -> list[datetime]:
    """The slots of runs that have foreign ids of their own, in their order."""
    return sorted(datetime.fromisoformat(run.foreign_id.rpartition("@")[2]) for run in found)


@row("1 schedule", "At each slot a run is started, once, whatever its workers do meanwhile.")
@row("under faults", "A slot is not lost, and not fired twice, when all workers die.")
@row("1 connector", "After a crash no message is lost, and none starts a second run.")
async def test_nothing_is_lost_or_done_twice_by_a_crash(host: Host, name: str) -> None:
    client = host.client
    begun = host.now()
    await client.schedule(
        reports, name, "@every 1s", object=Report(), overlap="start", catch_up=1_000
    )
    host.feed(json.dumps({"start": [f"{name}-before"]}))
    await host.pass_time(2 * SECOND)
    await arrived(host, f"{name}-before")
    host.feed(json.dumps({"start": [f"{name}-at-once"]}))
    await host.restart(kill=True)
    client = host.client
    host.feed(json.dumps({"start": [f"{name}-after"]}))
    await host.pass_time(2 * SECOND)
    for which in ("before", "at-once", "after"):
        await arrived(host, f"{name}-{which}")
    assert await client.count(Filter(workflow="connected", prefix=name)) == 3
    ended = host.now()

    async def caught_up() -> bool:
        last = (await client.get_schedule(reports, name)).last_slot
        return last is not None and last >= ended - SECOND

    await host.until(caught_up)
    await client.delete_schedule(reports, name)
    found = slots(await runs(host, name))
    assert begun <= found[0] <= begun + 2 * SECOND
    assert found == [found[0] + number * SECOND for number in range(len(found))]


@row("1 schedule", "They are listed, paused, resumed and deleted; runs that they started stay.")
async def test_schedules_are_steered(host: Host, name: str) -> None:
    client = host.client
    made = await client.schedule(reports, name, "@every 1s", object=Report(), overlap="start")
    assert (made.state in (State.INITIATED, State.RUNNING), made.declared) == (True, False)
    assert made.next_slots[1] - made.next_slots[0] == SECOND
    listed = {told.name: told.declared for told in await client.schedules(reports)}
    assert listed[name] is False
    assert listed[DAILY] is True
    await host.pass_time(SECOND)

    async def fired() -> bool:
        return bool(await runs(host, name))

    await host.until(fired)
    paused = await client.pause_schedule(reports, name, "holidays")
    assert (paused.state, paused.reason) == (State.PAUSED, "holidays")
    before = len(await runs(host, name))
    await host.pass_time(2 * SECOND)
    # One may have been on its way.
    assert len(await runs(host, name)) <= before + 1
    assert (await client.resume_schedule(reports, name)).state is State.RUNNING
    await host.pass_time(2 * SECOND)

    async def more() -> bool:
        return len(await runs(host, name)) > before + 1

    await host.until(more)
    await client.delete_schedule(reports, name)
    with pytest.raises(ScheduleNotFound):
        await client.get_schedule(reports, name)
    assert len(await runs(host, name)) > before + 1


@row("1 schedule", "While its last run is in progress a slot is left out, unless it may overlap.")
async def test_overlap(host: Host, name: str) -> None:
    client = host.client
    for which, overlap in (("skip", "skip"), ("start", "start")):
        await client.schedule(
            reports, f"{name}-{which}", "@every 1s", object=Report(long=True), overlap=overlap
        )
    await host.pass_time(SOME_SECONDS)

    async def several() -> bool:
        return len(await runs(host, f"{name}-start")) >= 2

    await host.until(several)
    for which in ("skip", "start"):
        await client.delete_schedule(reports, f"{name}-{which}")
    assert [run.foreign_id for run in await runs(host, f"{name}-skip")] == [f"{name}-skip"]
    assert {run.status for run in await runs(host, f"{name}-start")} == {WAITING}


@row(
    "1 schedule", "Slots that were missed are left out, or the latest or the last few made up for."
)
@pytest.mark.parametrize(("catch_up", "made_up"), [("none", 0), ("latest", 1), (3, 3)])
async def test_catch_up(host: Host, name: str, catch_up: object, made_up: int) -> None:
    """A slot of the last minute is on time."""
    spec = {"cron": "* * * * *", "foreign_id": name, "overlap": "start", "catch_up": catch_up}
    begun = host.now()
    plan = {"spec": {**spec, "object": {}}, "position": (begun - HALF_AN_HOUR).isoformat()}
    await host.produce(
        reports, {"type": "trigger", "kind": "schedule", "subject": name, "data": plan}
    )

    async def caught_up() -> bool:
        told = {each.name: each for each in await host.client.schedules(reports)}
        return name in told and told[name].last_slot is not None

    await host.until(caught_up)
    await host.client.delete_schedule(reports, name)
    found = [slot for slot in slots(await runs(host, name)) if slot <= begun]
    # A minute may have begun since: then the one that was on time is missed.
    assert len(found) in (made_up, made_up + 1)
    assert all(slot > begun - (made_up + 2) * MINUTE for slot in found)


@row("under time", "Where clocks change a daily schedule has one slot each day, in both ways.")
@row(
    "1 schedule",
    "A past range is backfilled without duplicates, right across daylight-saving changes; what its"
    " function leaves out stays out.",
)
async def test_backfill_across_daylight_saving_changes(host: Host, name: str) -> None:
    client = host.client
    for month, first, expected in (
        # Half past two is skipped on the 29th of March, and comes twice on the 25th of October.
        (3, 26, ["26T01:30", "28T01:30", "29T01:00", "30T00:30"]),
        (10, 22, ["22T00:30", "24T00:30", "25T00:30", "26T01:30"]),
    ):
        start = datetime(2026, month, first, tzinfo=UTC)
        end = start + timedelta(days=5)
        told = await client.backfill(reports, DAILY, start, end)
        wanted = [datetime.fromisoformat(f"2026-{month:02}-{slot}Z") for slot in expected]
        assert (len(told.slots), told.left_out, told.cursor) == (5, 1, None)
        assert set(wanted) < set(told.slots)
        await client.backfill(reports, DAILY, start, end)
        prefix = f"{DAILY}@2026-{month:02}-"

        async def all_there(prefix: str = prefix, wanted: list[datetime] = wanted) -> bool:
            return slots(await runs(host, prefix)) == wanted

        await host.until(all_there)


@row(
    "under time", "Where clocks change an hourly schedule has a slot for every hour, in both ways."
)
async def test_every_hour_where_clocks_change(host: Host, name: str) -> None:
    client, hour = host.client, timedelta(hours=1)
    await client.schedule(
        reports, name, "@hourly", timezone="Europe/Berlin", object=Report(), overlap="start"
    )
    for change in (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)):
        told = await client.backfill(reports, name, change - 2 * hour, change + 3 * hour)
        assert told.slots == [change + number * hour for number in range(-2, 3)]
    await client.delete_schedule(reports, name)


@row("under time", "A schedule whose time never comes stays, says so, and starts nothing.")
async def test_a_time_that_never_comes(host: Host, name: str) -> None:
    client = host.client
    await client.schedule(reports, name, "0 0 30 2 *", object=Report())

    async def looked_at() -> bool:
        return (await client.get_schedule(reports, name)).state is State.RUNNING

    await host.until(looked_at)
    await host.pass_time(2 * SECOND)
    told = await client.get_schedule(reports, name)
    assert (told.next_slots, told.due_at, told.last_slot, told.error) == ([], None, None, None)
    assert await runs(host, name) == []
    await client.delete_schedule(reports, name)


@row("1 schedule", "What can't be is refused: no such time, and changes to what the code declares.")
async def test_schedules_that_can_not_be(host: Host, name: str) -> None:
    for cron, zone in (("61 * * * *", "UTC"), ("0 3 * * *", "Mars/Olympus"), ("@every -1s", "UTC")):
        with pytest.raises(InvalidCron):
            await host.client.schedule(reports, name, cron, timezone=zone, object=Report())
    with pytest.raises(ScheduleDeclared):
        await host.client.schedule(reports, DAILY, "@daily", object=Report())
    with pytest.raises(ScheduleDeclared):
        await host.client.delete_schedule(reports, DAILY)
