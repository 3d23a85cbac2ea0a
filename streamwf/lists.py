"""Lists of runs: which run fits, where it stands, and where a page ends. Pure."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

import msgspec

from .definition import Workflow
from .errors import InvalidQuery, WorkflowNotFound
from .events import Instant, check_foreign_id
from .record import FIRST_KEY, INNER_PREFIX, LAST_KEY, Record
from .searched import decoded, values_at
from .views import SEARCH, Filter, Order, RunView

#: Where a run stands in a list, to be compared with other places of the same order.
Place: TypeAlias = tuple[Any, ...]


class Cursor(NamedTuple):
    """The last run that was looked at for a page, and the list that it is of.

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
    return encoded(Cursor(order, run.workflow, run.foreign_id, run.run_id, at, until))


def place_at(cursor: Cursor) -> Place:
    """Where the run stands that a cursor is at."""
    if not by_instant(cursor.order):
        return cursor.workflow, cursor.foreign_id
    return cursor.at, cursor.workflow, cursor.foreign_id, cursor.run_id


def encoded(cursor: Cursor) -> str:
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
    """Tells which runs come after a cursor. Of runs of the cursor's own foreign id, in the order of
    foreign ids, `rest_of` has told before."""

    def __init__(self, order: Order, after: Cursor | None) -> None:
        self._order = order
        self._after = after

    def __call__(self, workflow: str, run: Record) -> bool:
        after = self._after
        if after is None:
            return True
        border = place_at(after)
        place = place_of(self._order, workflow, run)
        if place == border:
            return not by_instant(self._order)
        if after.until is not None and run.updated_at > after.until:
            return False
        return place < border if descending(self._order) else place > border


def rest_of(runs: list[Record], after: Cursor) -> list[Record]:
    """Those runs of a cursor's foreign id, the newest first, that come after the cursor."""
    for number, run in enumerate(runs, 1):
        if run.run_id == after.run_id:
            return runs[number:]
    # It has left the tables since: what began before it is older, if clocks are right.
    return [run for run in runs if run.created_at < after.at]


class Selection:
    """A filter as it concerns the runs of one workflow."""

    def __init__(self, asked: Filter, workflow: Workflow[Any, Any]) -> None:
        self.asked = asked
        self._workflow = workflow
        self.search = {name: frozenset(values) for name, values in asked.search.items() if values}
        self._paths = [(name.split("."), values) for name, values in self.search.items()]
        self.prefix = asked.prefix or ""
        wanted = asked.foreign_id
        unnamed = wanted is not None and not wanted.startswith(self.prefix)
        #: Whether it is certain that no run of this workflow fits.
        self.none = unnamed or bool(self.search and not set(asked.search) <= set(workflow.search))

    @property
    def start(self) -> str:
        """The key from which on runs may fit, in the order of foreign ids."""
        return max(FIRST_KEY, self.prefix, self.asked.foreign_id or "")

    @property
    def stop(self) -> str:
        """The key from which on none fits any more."""
        if self.asked.foreign_id is not None:
            return after_all_of(self.asked.foreign_id)
        return self.prefix + LAST_KEY

    @property
    def by_standing(self) -> bool:
        """Whether status and state alone tell which runs fit."""
        return self.only("status", "state")

    def only(self, *names: str) -> bool:
        """Whether these filters, and that of the workflow, tell which runs fit."""
        asked = self.asked
        these = {name: getattr(asked, name) for name in (*names, "workflow")}
        return asked.filter() == Filter.model_construct(**these)

    def stands(self, status: str, state: str) -> bool:
        asked = self.asked
        return (not asked.status or self._workflow.current(status) in asked.status) and (
            not asked.state or state in asked.state
        )

    def named(self, foreign_id: str) -> bool:
        wanted = self.asked.foreign_id
        return foreign_id.startswith(self.prefix) and wanted in (None, foreign_id)

    def fits(self, record: Record) -> bool:
        asked = self.asked
        return (
            self.stands(record.status, record.state)
            and self.named(record.foreign_id)
            and _within(record.created_at, asked.created_after, asked.created_before)
            and _within(record.updated_at, asked.updated_after, asked.updated_before)
        )

    @property
    def searches(self) -> bool:
        """Whether it is up to their objects, too, which runs fit."""
        return bool(self.search)

    def finds(self, record: Record) -> bool:
        """Whether a run's object fits."""
        carried = decoded(record)
        return all(not wanted.isdisjoint(values_at(carried, path)) for path, wanted in self._paths)


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


def after_all_of(foreign_id: str) -> str:
    """The key that comes after all runs of a foreign id, and before those of any other."""
    return foreign_id + INNER_PREFIX
