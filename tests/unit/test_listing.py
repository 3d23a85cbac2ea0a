"""Lists: whichever way a page is made, and whatever no checkpoint has written yet, the pages are
what looking at every run would give."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamwf import candidates, listing
from streamwf.candidates import Chosen
from streamwf.listing import Listing
from streamwf.lists import Cursor, encoded, read_cursor, selections, values_at
from streamwf.moment import Moment
from streamwf.ports import Change, Checkpoint
from streamwf.record import Record, State, archive_key, encode_record
from streamwf.searched import Searched
from streamwf.shard import Shard
from streamwf.stored_log import OnePartition
from streamwf.tables.memory import MemoryTable
from streamwf.tables.runs import AsOf, Memory, RunsTable
from streamwf.views import Filter, Order
from tests.support import NOW, examples, record
from tests.unit.any_log import opened

SECOND = timedelta(seconds=1)
FIELDS = ("customer", "tags")
NAMES = ("orders", "others")


@dataclass
class Part:
    """A shard, and its table in one store or another."""

    shard: Shard
    table: MemoryTable | RunsTable
    offset: int = 0

    def start(self, run: Record) -> None:
        """As the fold does it: what was the latest of the foreign id is kept under another key."""
        before = self.shard.rows.get(run.foreign_id)
        if before is not None:
            self.shard.rows.change(archive_key(before), None, before)
        self.offset += 1
        now = msgspec.structs.replace(run, offsets=(self.offset,))
        self.shard.rows.change(run.foreign_id, before, now)

    def change(self, run_id: str, **fields: Any) -> None:
        found = self.shard.rows.lookup(run_id)
        if found is not None:
            self.shard.rows.change(*found, msgspec.structs.replace(found[1], **fields))

    def forget(self, run_id: str) -> None:
        found = self.shard.rows.lookup(run_id)
        if found is not None:
            self.shard.rows.change(*found, None)

    def write(self, *, done: bool = True) -> None:
        """done: whether the shard knows that it is written."""
        checkpoint = Checkpoint(self.shard.rows.take(), self.offset)
        if isinstance(self.table, MemoryTable):
            self.table.write(checkpoint)
        else:
            rows = [None if c.after is None else encode_record(c.after) for c in checkpoint.changes]
            self.table.write(checkpoint.changes, rows, AsOf("t", self.offset, self.offset))
        if done:
            self.shard.rows.written(checkpoint)


@dataclass
class Host:
    """Two workflows of two shards each."""

    parts: dict[str, list[Part]] = field(default_factory=dict)

    def part(self, name: str, foreign_id: str) -> Part:
        return self.parts[name][OnePartition(2).shard_of(foreign_id)]

    def chosen(self, asked: Filter) -> list[Chosen]:
        workflows = {name: parts[0].shard.workflow for name, parts in self.parts.items()}
        return [
            (name, selection, [part.shard for part in self.parts[name]])
            for name, selection in selections(asked, workflows)
        ]

    def close(self) -> None:
        for part in (part for parts in self.parts.values() for part in parts):
            if isinstance(part.table, RunsTable):
                part.table.close()


def host(folder: Path | None = None) -> Host:
    made, memory = Host(), Memory()
    for name in NAMES:
        made.parts[name] = []
        for number in range(2):
            terms = Searched(FIELDS)
            table = (
                MemoryTable(terms)
                if folder is None
                else RunsTable(folder / name / str(number), memory, terms)
            )
            shard = opened(table)
            shard.workflow.name, shard.workflow.search = name, FIELDS
            made.parts[name].append(Part(shard, table))
    return made


# ---- what looking at every run gives


def everything(made: Host) -> Iterator[tuple[str, Record, bool]]:
    for name, parts in made.parts.items():
        for part in parts:
            for key, each in part.shard.scan(" "):
                yield name, each, key == each.foreign_id


def wanted(made: Host, asked: Filter, order: Order) -> list[str]:
    def fits(name: str, each: Record) -> bool:
        carried = msgspec.json.decode(each.object)
        return (
            asked.workflow in (None, name)
            and (not asked.status or each.status in asked.status)
            and (not asked.state or each.state in asked.state)
            and asked.foreign_id in (None, each.foreign_id)
            and each.foreign_id.startswith(asked.prefix or "")
            and (asked.created_after is None or each.created_at >= asked.created_after)
            and (asked.created_before is None or each.created_at < asked.created_before)
            and (asked.updated_after is None or each.updated_at >= asked.updated_after)
            and (asked.updated_before is None or each.updated_at < asked.updated_before)
            and all(
                set(values) & set(values_at(carried, [name]))
                for name, values in asked.search.items()
                if values
            )
        )

    rows = [row for row in everything(made) if fits(row[0], row[1])]
    if order.endswith("foreign_id"):
        rows.sort(key=lambda row: (not row[2], -row[1].offsets[0]))
        rows.sort(key=lambda row: (row[0], row[1].foreign_id), reverse=order.startswith("-"))
    else:
        rows.sort(
            key=lambda row: (
                row[1].updated_at if "updated" in order else row[1].created_at,
                row[0],
                row[1].foreign_id,
                row[1].run_id,
            ),
            reverse=order.startswith("-"),
        )
    return [each.run_id for _, each, _ in rows]


async def finds(moment: Moment, each: Record) -> bool:
    return moment.selection.finds(each)


async def pages(made: Host, asked: Filter, order: Order, limit: int) -> list[list[str]]:
    found, cursor, passed = [], None, set[Cursor]()
    while True:
        after = read_cursor(cursor, order)
        list_ = Listing(asked, made.chosen(asked), order, after, finds)
        runs, last = await list_.page(limit)
        found.append([each.record.run_id for each in runs])
        assert len(runs) <= limit
        if last is None:
            return found
        assert last not in passed, "it goes on"
        passed.add(last)
        cursor = encoded(last)


async def count(made: Host, asked: Filter) -> int:
    return await Listing(asked, made.chosen(asked), "created", None, finds).count()


# ---- any runs, any list

_statuses = st.sampled_from(["CREATED", "PICKED"])
_states = st.sampled_from([State.RUNNING, State.PAUSED, State.COMPLETED])
_instants = st.integers(0, 4).map(lambda n: NOW + n * SECOND)
_customers = st.sampled_from(["ann", "bob"])
_foreign_ids = st.sampled_from(["a", "ab", "ab c", "b", "注"])


@st.composite
def _runs(draw: st.DrawFn) -> dict[str, Any]:
    carried = {"customer": draw(_customers), "tags": draw(st.lists(_customers, max_size=2))}
    return {
        "foreign_id": draw(_foreign_ids),
        "status": draw(_statuses),
        "state": draw(_states),
        "created_at": draw(_instants),
        "updated_at": draw(_instants),
        "object": msgspec.Raw(msgspec.json.encode(carried)),
    }


_changes = st.one_of(
    st.tuples(st.just("start"), st.sampled_from(NAMES), _runs()),
    st.tuples(st.just("change"), st.integers(0, 30), _runs()),
    st.tuples(st.just("forget"), st.integers(0, 30), st.none()),
    st.tuples(st.just("write"), st.booleans(), st.none()),
)


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.none() | values


_filters = st.builds(
    lambda **given: Filter(**{name: value for name, value in given.items() if value is not None}),
    workflow=_optional(st.sampled_from(NAMES)),
    status=_optional(st.lists(_statuses, max_size=2, unique=True)),
    state=_optional(st.lists(_states, max_size=2, unique=True)),
    foreign_id=_optional(_foreign_ids),
    prefix=_optional(st.sampled_from(["a", "ab", "b", "x", ""])),
    created_after=_optional(_instants),
    created_before=_optional(_instants),
    updated_after=_optional(_instants),
    updated_before=_optional(_instants),
    search=_optional(
        st.dictionaries(st.sampled_from(FIELDS), st.lists(_customers, max_size=2), max_size=2)
    ),
)

_ways = st.fixed_dictionaries(
    {
        "FEW": st.sampled_from([0, 3, 1_000]),
        "MANY": st.sampled_from([0, 3, 1_000]),
        "ROW": st.sampled_from([1, 8]),
        "AT_FIRST": st.sampled_from([1, 4, 1_000]),
        "AT_MOST": st.sampled_from([1, 5, 1_000]),
        "TURN": st.just(3),
        "READ": st.just(2),
    }
)


def carry_out(made: Host, changes: Sequence[tuple[Any, Any, Any]]) -> None:
    begun: list[tuple[Part, str]] = []
    for what, which, run in changes:
        if what == "start":
            part, run_id = made.part(which, run["foreign_id"]), f"r{len(begun)}"
            part.start(record(run_id=run_id, **run))
            begun.append((part, run_id))
        elif what == "write":
            for part in (part for parts in made.parts.values() for part in parts):
                part.write(done=True)
                if which:
                    part.write()
        elif begun:
            part, run_id = begun[which % len(begun)]
            if what == "forget":
                part.forget(run_id)
            else:
                names = ("status", "state", "updated_at", "object")
                part.change(run_id, **{name: run[name] for name in names})


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "rocksdb"])
@examples(150)
@given(
    changes=st.lists(_changes, max_size=25),
    asked=_filters,
    order=st.sampled_from(get_args(Order)),
    limit=st.integers(1, 4),
    ways=_ways,
    stretch=st.integers(1, 3),
)
def test_any_list_of_any_runs(
    tmp_path_factory: pytest.TempPathFactory,
    in_memory: bool,
    changes: list[tuple[Any, Any, Any]],
    asked: Filter,
    order: Order,
    limit: int,
    ways: dict[str, int],
    stretch: int,
) -> None:
    made = host(None if in_memory else tmp_path_factory.mktemp("tables"))
    with closing(made), pytest.MonkeyPatch.context() as patch:
        for name, value in ways.items():
            patch.setattr(listing, name, value)
        patch.setattr(candidates, "STRETCH", stretch)
        carry_out(made, changes)
        expected = wanted(made, asked, order)
        found = asyncio.run(pages(made, asked, order, limit))
        assert [run_id for page in found for run_id in page] == expected
        assert asyncio.run(count(made, asked)) == len(expected)


@pytest.mark.parametrize("order", ["foreign_id", "-foreign_id"])
@pytest.mark.parametrize("few", [0, 1_000])
def test_clocks_that_went_back_bring_no_run_twice(
    monkeypatch: pytest.MonkeyPatch, order: Order, few: int
) -> None:
    monkeypatch.setattr(listing, "FEW", few)
    made = host()
    part = made.parts["orders"][0]
    for number, second in enumerate([3, 4, 0, 2]):
        at = NOW + second * SECOND
        part.start(record(foreign_id="a", run_id=f"r{number}", created_at=at, updated_at=at))
    asked = Filter(workflow="orders", created_after=NOW)
    assert asyncio.run(pages(made, asked, order, 1)) == [["r3"], ["r2"], ["r1"], ["r0"]]


def test_a_page_ends_where_nothing_was_found_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "AT_FIRST", 5)
    monkeypatch.setattr(listing, "AT_MOST", 10)
    made = host()
    part = made.parts["orders"][0]
    for number in range(25):
        rare = b'{"customer":"eve"}' if number in (3, 24) else b"{}"
        part.start(
            record(foreign_id=f"o-{number:02}", run_id=f"r{number}", object=msgspec.Raw(rare))
        )
    made.parts["orders"] = [part]
    part.shard.workflow.encrypt = True
    part.write()
    monkeypatch.setattr(Moment, "has_terms", False)
    asked = Filter(workflow="orders", search={"customer": ["eve"]})
    for order in ("foreign_id", "created"):
        assert asyncio.run(pages(made, asked, order, 5)) == [["r3"], [], ["r24"]]
        assert asyncio.run(count(made, asked)) == 2


def test_others_have_their_turn_while_a_list_is_made() -> None:
    made = host()
    part = made.parts["orders"][0]
    for number in range(5_000):
        part.start(record(foreign_id=f"o-{number:04}", run_id=f"r{number}"))
    part.write()

    async def turns(asked: Filter) -> int:
        count, task = 0, asyncio.create_task(pages(made, asked, "-foreign_id", 50))
        while not task.done():
            await asyncio.sleep(0)
            count += 1
        assert task.result() == [[]]
        return count

    assert asyncio.run(turns(Filter(search={"customer": ["eve"]}))) < 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moment, "has_terms", False)
        assert asyncio.run(turns(Filter(search={"customer": ["eve"]}))) >= 5_000 // listing.TURN


def test_a_run_that_moves_while_a_list_by_updates_is_made_is_there_once() -> None:
    made = host()
    part = made.parts["orders"][0]
    for number in range(4):
        at = NOW + number * SECOND
        part.start(record(foreign_id=f"o-{number}", run_id=f"r{number}", updated_at=at))
    part.write()

    async def moving(moment: Moment, each: Record) -> bool:
        if each.run_id == "r1":
            part.change("r1", updated_at=NOW + 10 * SECOND)
            part.write()
        return True

    asked = Filter(workflow="orders", search={"customer": ["ann"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "STRETCH", 1)
        patch.setattr(Moment, "has_terms", False)
        list_ = Listing(asked, made.chosen(asked), "updated", None, moving)
        runs, _ = asyncio.run(list_.page(10))
    assert [each.record.run_id for each in runs] == ["r0", "r1", "r2", "r3"]


def test_runs_that_move_while_they_are_listed_by_updates_are_never_out_of_order() -> None:
    made = host()
    part = made.parts["orders"][0]
    for number in range(4):
        at = NOW + number * SECOND
        part.start(record(foreign_id=f"o-{number}", run_id=f"r{number}", updated_at=at))
    part.write()

    async def moving(moment: Moment, each: Record) -> bool:
        part.change("r1", updated_at=NOW + 10 * SECOND)
        part.write()
        return True

    asked = Filter(workflow="orders", search={"customer": ["ann"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Moment, "has_terms", False)
        list_ = Listing(asked, made.chosen(asked), "updated", None, moving)
        runs, _ = asyncio.run(list_.page(10))
    shown = [each.record.updated_at for each in runs]
    assert shown == sorted(shown)
    assert {each.record.run_id for each in runs} >= {"r0", "r2", "r3"}


def test_changes_of_a_checkpoint_that_is_being_written_count() -> None:
    made = host()
    part = made.parts["orders"][0]
    part.start(record(foreign_id="o-1", run_id="r1"))
    part.write()
    part.change("r1", status="PICKED")
    part.write(done=False)
    for status, found in (("PICKED", [["r1"]]), ("CREATED", [[]])):
        asked = Filter(workflow="orders", status=[status])
        assert asyncio.run(pages(made, asked, "-created", 5)) == found
        assert asyncio.run(count(made, asked)) == len(found[0])


def test_a_change_is_one_row_of_each_index_at_most() -> None:
    table = MemoryTable(Searched(FIELDS))
    first = record(object=msgspec.Raw(b'{"customer":"ann"}'))
    table.write(Checkpoint([Change("o-1", None, first)], 1))
    rows = dict(table.between(b"", b"\xff", limit=100))
    moved = msgspec.structs.replace(first, status="PICKED", updated_at=NOW + SECOND)
    table.write(Checkpoint([Change("o-1", first, moved)], 2))
    now = dict(table.between(b"", b"\xff", limit=100))
    assert len(rows.items() - now.items()) == len(now.items() - rows.items()) == 1
