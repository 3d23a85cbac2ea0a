"""Going on with runs whose histories were exported: a log in memory that has their events."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from streamwf.definition import Workflow
from streamwf.embedded import MemoryLog
from streamwf.errors import HistoryHidden, HistoryOfAnother
from streamwf.events import encode_event
from streamwf.testing.replaying import AnyHistory, event_of, read_history


def logs_of(
    workflows: Iterable[Workflow[Any, Any]],
    histories: Iterable[AnyHistory],
    former: Mapping[str, MemoryLog],
) -> tuple[dict[str, MemoryLog], list[datetime]]:
    """The logs of a former host with those events behind its own, and when each of them was.

    What the events have led to elsewhere, they lead to anew: children of the runs that are not
    among the histories start again, under their own ids.

    Raises HistoryUnreadable, HistoryNewer, HistoryOfAnother and HistoryHidden.
    """
    names = [workflow.name for workflow in workflows]
    logs = {name: MemoryLog([*log.records], [*log.filed], log.told) for name, log in former.items()}
    times: list[datetime] = []
    for each in histories:
        history = read_history(each)
        if history.workflow not in names:
            known = ", ".join(names)
            raise HistoryOfAnother(run_id=history.run_id, found=history.workflow, workflow=known)
        if history.hides:
            raise HistoryHidden(run_id=history.run_id, hides=history.hides)
        log = logs.setdefault(history.workflow, MemoryLog())
        for told in history.events:
            event = event_of(history.workflow, told)
            times.append(event.time)
            stamp = int(event.time.timestamp() * 1000)
            log.append(event.subject.encode(), encode_event(event), stamp)
    return logs, times
