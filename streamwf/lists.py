"""Lists of runs: which run fits, where it stands, and where a page ends. Pure."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from .definition import Workflow
from .errors import InvalidQuery, WorkflowNotFound
from .events import Instant, check_foreign_id
from .record import FIRST_KEY, Record
from .views import SEARCH, Filter, Order, RunView

#: Where a run stands in a list, to be compared with other places of the same order.
Place: TypeAlias = tuple[Any, ...]


class Cursor(NamedTuple):
    """The last run of a page, and the list that it is of.

    at: the instant of that run that the list is ordered by; in the order of foreign ids, when it
        was created.
    until: the latest update of all runs of the list when its first page was made.
    """

    order: Order
    workflow: str
    foreign_id: str
    run_id: str
    at: Instant
    until: Instant | None = None


def descending(order: Order) -> bool:
    return order.startswith("-")


def by_instant(order: Order) -> bool:
    return order.lstrip("-") != "foreign_id"


def instant_of(order: Order, run: Record | RunView) -> datetime:
    return run.updated_at if order.lstrip("-") == "updated" else run.created_at


def place_of(order: Order, workflow: str, run: Record | RunView) -> Place:
    """Runs of the same foreign id share their place in its order, and stay as they come."""
    if not by_instant(order):
        return workflow, run.foreign_id
    return instant_of(order, run), workflow, run.foreign_id, run.run_id


def cursor_of(order: Order, run: RunView, until: datetime | None = None) -> str:
    """Where the page after this run begins."""
    at = instant_of(order, run)
    cursor = Cursor(order, run.workflow, run.foreign_id, run.run_id, at, until)
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def read_cursor(cursor: str | None, order: Order) -> Cursor | None:
    """Raises InvalidQuery if it is none, or one of a list in another order."""
    if not cursor:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        read = msgspec.json.decode(text, type=Cursor)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise InvalidQuery(field="cursor", why=str(error)) from None
    if read.order != order:
        raise InvalidQuery(field="cursor", why=f"it is of a list by {read.order}, not by {order}")
    return read


class Following:
    """Tells which runs come after a cursor.

    It has to be asked of every run in the order of foreign ids, the newest of each first.
    """

    def __init__(self, order: Order, after: Cursor | None) -> None:
        self._order = order
        self._after = after
        self._passed = False

    def __call__(self, workflow: str, run: Record) -> bool:
        after = self._after
        if after is None:
            return True
        border: Place = (after.workflow, after.foreign_id)
        if by_instant(self._order):
            border = (after.at, *border, after.run_id)
        place = place_of(self._order, workflow, run)
        if place == border:
            return self._follows_at_the_border(after, run)
        if after.until is not None and run.updated_at > after.until:
            return False
        return place < border if descending(self._order) else place > border

    def _follows_at_the_border(self, after: Cursor, run: Record) -> bool:
        if run.run_id == after.run_id:
            self._passed = True
            return False
        # The run at the border itself may have left the tables since.
        return self._passed or run.created_at < after.at


class Selection:
    """A filter as it concerns the runs of one workflow."""

    def __init__(self, asked: Filter, workflow: Workflow[Any, Any]) -> None:
        self._asked = asked
        self._workflow = workflow
        self._search = [
            (name.split("."), frozenset(values)) for name, values in asked.search.items() if values
        ]
        self._none = bool(self._search) and not set(asked.search) <= set(workflow.search)
        self.prefix = asked.prefix or ""

    @property
    def start(self) -> str:
        """The key from which on runs may fit."""
        return max(FIRST_KEY, self.prefix, self._asked.foreign_id or "")

    def over(self, record: Record) -> bool:
        """Whether none fits from here on, in the order of foreign ids."""
        wanted = self._asked.foreign_id
        return self._none or (
            not record.foreign_id.startswith(self.prefix)
            or (wanted is not None and record.foreign_id != wanted)
        )

    @property
    def by_standing(self) -> bool:
        """Whether status and state alone tell which runs fit."""
        asked = self._asked
        return asked.filter() == Filter(
            workflow=asked.workflow, status=asked.status, state=asked.state
        )

    def stands(self, status: str, state: str) -> bool:
        asked = self._asked
        return (not asked.status or self._workflow.current(status) in asked.status) and (
            not asked.state or state in asked.state
        )

    def fits(self, record: Record) -> bool:
        asked = self._asked
        return (
            self.stands(record.status, record.state)
            and _within(record.created_at, asked.created_after, asked.created_before)
            and _within(record.updated_at, asked.updated_after, asked.updated_before)
        )

    @property
    def searches(self) -> bool:
        """Whether it is up to their objects, too, which runs fit."""
        return bool(self._search)

    def finds(self, record: Record) -> bool:
        """Whether a run's object fits."""
        try:
            carried = msgspec.json.decode(record.object)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False
        return all(not wanted.isdisjoint(values_at(carried, path)) for path, wanted in self._search)


def selections(
    asked: Filter, workflows: Mapping[str, Workflow[Any, Any]]
) -> list[tuple[str, Selection]]:
    """What a filter selects of each workflow that it asks for, by their names.

    Raises WorkflowNotFound, InvalidForeignId, and InvalidQuery if none of them can be searched by
    a field.
    """
    if asked.workflow is not None and asked.workflow not in workflows:
        raise WorkflowNotFound(workflow=asked.workflow, known=", ".join(sorted(workflows)))
    names = [asked.workflow] if asked.workflow is not None else sorted(workflows)
    if asked.foreign_id is not None:
        check_foreign_id(asked.foreign_id)
    if not (asked.prefix or "").isprintable():
        raise InvalidQuery(field="prefix", why="no foreign id has such characters")
    known = sorted({field for name in names for field in workflows[name].search})
    for field in asked.search:
        if field not in known:
            there = ", ".join(known) or "none; declare them with Workflow(search=…)"
            raise InvalidQuery(
                field=f"{SEARCH}{field}", why=f"runs can't be searched by it; fields: {there}"
            )
    return [(name, Selection(asked, workflows[name])) for name in names]


def _within(instant: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or instant >= after) and (before is None or instant < before)


def values_at(carried: Any, path: Sequence[str]) -> Iterator[str]:
    """What is at a path, as text; of a list, what is there of each element."""
    for element in carried if isinstance(carried, list) else [carried]:
        if path:
            if isinstance(element, dict) and path[0] in element:
                yield from values_at(element[path[0]], path[1:])
        elif isinstance(element, str):
            yield element
        elif not isinstance(element, dict | list):
            yield msgspec.json.encode(element).decode()
