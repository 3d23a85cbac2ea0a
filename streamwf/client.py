"""The client: triggering, steering and looking at runs, typed by the workflow.

It speaks through a gateway: to a host in this process, or to any worker over HTTP.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import uuid4

from pydantic import SecretStr

from .bounded import Bounded
from .callback_views import CallbackView
from .connector_client import ConnectorClient
from .definition import Workflow
from .errors import ForeignIdNotFound, NotReady, RunNotFound
from .gateway import Gateway
from .histories import ExportedHistory
from .letter_client import LetterClient
from .overview import Overview, Window
from .record import State
from .request_client import RequestClient
from .run_info import RunInfo, typed
from .schedule_client import ScheduleClient
from .views import (
    Action,
    Bulk,
    BulkSteering,
    Count,
    Filter,
    Fork,
    History,
    Order,
    Page,
    Query,
    Roles,
    RunView,
    Workflows,
    WorkflowView,
)
from .watch_client import WatchClient

if TYPE_CHECKING:
    from .blocking import SyncClient
    from .settings import Settings

ObjectT = TypeVar("ObjectT")
StatusT = TypeVar("StatusT", bound=Enum)

#: How many of the runs that it has requested without waiting a client remembers.
MAX_REQUESTED = 10_000

#: Runs that are asked for at a time when all of them are wanted.
PAGE = 200

#: Seconds between two looks for a run that was requested a moment ago.
FOLD_PAUSE = 0.02


class Client(RequestClient, ScheduleClient, ConnectorClient, LetterClient, WatchClient):
    """Speaks to a running engine. Use it as an async context manager, or close it."""

    _gateway: Gateway

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._requested: deque[str] = deque(maxlen=MAX_REQUESTED)

    @classmethod
    def over_http(
        cls,
        url: str,
        *,
        absence: timedelta = timedelta(0),
        token: str | None = None,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
    ) -> "Client":
        """A client of the worker at a URL, and through it of all the workers of its group.

        absence: for so long each call asks again if no worker is there.
        token: says who asks. ca_file: certificates (PEM) of who signs that of the worker; the
            system's, if not given. cert_file: the client's own, with its key (PEM).
        """
        from .adapters.endpoints import Endpoint
        from .adapters.http import HttpGateway

        secret = None if token is None else SecretStr(token)
        endpoint = Endpoint(url, secret, ca_file=ca_file, cert_file=cert_file)
        return cls(HttpGateway(endpoint, absence=absence.total_seconds()))

    @classmethod
    def over_kafka(
        cls, brokers: str, *workflows: Workflow[Any, Any], settings: "Settings | None" = None
    ) -> "Client":
        """A client that appends to the topics of these workflows, and needs no worker.

        It can trigger, and call back. What it asks is checked by the definition here, and judged
        by the workers later; what they refuse goes to the dead letters. All else raises
        NotOverKafka. settings: the rest of them; those of the environment, unless given.

        Each call raises BrokerUnreachable, and WorkflowNotFound if there is no topic yet.
        """
        from .adapters.kafka.gateway import KafkaGateway
        from .settings import load

        chosen = (settings or load()).model_copy(update={"brokers": brokers})
        return cls(cast("Gateway", KafkaGateway(workflows, chosen)))

    def within(self, timeout: timedelta) -> "Client":
        """The same client; each of its calls raises DeadlineExceeded if it takes longer.

        What was asked may happen all the same. `await_` has a timeout of its own.
        """
        gateway = self._gateway.gateway if isinstance(self._gateway, Bounded) else self._gateway
        client = Client(cast("Gateway", Bounded(gateway, timeout)))
        client._requested = self._requested
        return client

    def sync(self) -> "SyncClient":
        """The same for code that can't await. It is to be used by that alone from now on."""
        from .blocking import Loop, SyncClient

        return SyncClient(self, Loop())

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._gateway.close()

    async def await_(
        self,
        workflow: Workflow[ObjectT, StatusT],
        run_id: str,
        status: StatusT | None = None,
        *,
        timeout: timedelta = timedelta(minutes=1),
    ) -> RunInfo[ObjectT, StatusT]:
        """Wait until a run is at a status or has passed it; without one, until it has ended.

        Raises RunNotFound, DeadlineExceeded, and AwaitFailed as soon as it can't get there.
        """
        name = None if status is None else status.name
        left = timeout.total_seconds()
        deadline = time.monotonic() + left
        while True:
            try:
                return typed(workflow, await self._gateway.await_(run_id, name, left))
            except RunNotFound:
                # The log has its request, but nobody may have folded it yet.
                if run_id not in self._requested or not left:
                    raise
            await asyncio.sleep(FOLD_PAUSE)
            left = round(max(deadline - time.monotonic(), 0), 3)

    async def get(
        self, workflow: Workflow[ObjectT, StatusT], run_id: str, *, version: int | None = None
    ) -> RunInfo[ObjectT, StatusT]:
        """A run as it is; or as it was at a version, which its history tells.

        Raises RunNotFound, and InvalidObject if what the run carries does not fit; and of a version
        VersionUnknown, HistoryIncomplete, and TransitionRefused once its data is deleted.
        """
        if version is None:
            return typed(workflow, await self._gateway.get(run_id))
        return typed(workflow, await self._gateway.get_version(run_id, version))

    async def latest(
        self, workflow: Workflow[ObjectT, StatusT], foreign_id: str
    ) -> RunInfo[ObjectT, StatusT] | None:
        """The latest run of a foreign id; None if it has none."""
        try:
            return typed(workflow, await self._gateway.latest(workflow.name, foreign_id))
        except ForeignIdNotFound:
            return None

    def run(
        self, workflow: Workflow[ObjectT, StatusT], foreign_id: str
    ) -> "Handle[ObjectT, StatusT]":
        """The latest run of a foreign id, whichever that is when something is asked of it."""
        return Handle(self, workflow, foreign_id)

    async def fork(
        self,
        run_id: str,
        version: int,
        *,
        foreign_id: str | None = None,
        reason: str = "",
        key: str | None = None,
    ) -> str:
        """Start a new run from what a run was at a version, and return its id.

        foreign_id: of the new run; the same, unless given. key: makes a repeat harmless.

        Raises RunNotFound, VersionNotFound, TerminalStart and RunInProgress.
        """
        asked = Fork(version=version, foreign_id=foreign_id, reason=reason, key=key)
        new = await self._gateway.fork(run_id, asked)
        self._requested.append(new)
        return new

    async def pause(
        self, run_id: str, reason: str = "", *, if_version: int | None = None
    ) -> RunView:
        """if_version: only if the run has this version when it is done, as the log's order decides.

        Raises RunNotFound, TransitionRefused, and VersionDiffers.
        """
        return await self._gateway.steer("pause", run_id, reason, if_version)

    async def resume(
        self, run_id: str, reason: str = "", *, if_version: int | None = None
    ) -> RunView:
        """As `pause`. Raises RunNotFound, TransitionRefused, and VersionDiffers."""
        return await self._gateway.steer("resume", run_id, reason, if_version)

    async def cancel(
        self, run_id: str, reason: str = "", *, if_version: int | None = None
    ) -> RunView:
        """As `pause`. Raises RunNotFound, TransitionRefused, and VersionDiffers."""
        return await self._gateway.steer("cancel", run_id, reason, if_version)

    async def retry(
        self, run_id: str, reason: str = "", *, if_version: int | None = None
    ) -> RunView:
        """Try at once what waits because of errors. Otherwise as `pause`."""
        return await self._gateway.steer("retry", run_id, reason, if_version)

    async def delete_data(
        self, run_id: str, reason: str = "", *, if_version: int | None = None
    ) -> RunView:
        """Delete what a run that has ended carries. Otherwise as `pause`."""
        return await self._gateway.steer("delete-data", run_id, reason, if_version)

    async def find(self, query: Query | None = None) -> Page:
        """A page of runs. Raises WorkflowNotFound and InvalidQuery."""
        return await self._gateway.find(query or Query())

    async def list(
        self,
        workflow: Workflow[ObjectT, StatusT],
        *,
        status: StatusT | Iterable[StatusT] = (),
        state: State | Iterable[State] = (),
        foreign_id: str | None = None,
        prefix: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        updated_after: datetime | None = None,
        updated_before: datetime | None = None,
        search: Mapping[str, str | Iterable[str]] | None = None,
        order: Order = "foreign_id",
    ) -> AsyncIterator[RunInfo[ObjectT, StatusT]]:
        """All runs of a workflow that fit, page by page as they are asked for.

        The arguments are those of a `Query`, which says what they mean; what holds while runs
        change is said at `Looking.find`.

        Raises InvalidQuery, InvalidForeignId, NotReady if a worker can't tell its runs, and
        InvalidObject for a run whose object does not fit.
        """
        query = Query.of(
            workflow=workflow.name,
            status=[status.name] if isinstance(status, Enum) else [each.name for each in status],
            state=[state] if isinstance(state, State) else [*state],
            foreign_id=foreign_id,
            prefix=prefix,
            created_after=created_after,
            created_before=created_before,
            updated_after=updated_after,
            updated_before=updated_before,
            search={
                field: [values] if isinstance(values, str) else [*values]
                for field, values in (search or {}).items()
            },
            order=order,
            limit=PAGE,
        )
        while True:
            page = await self._gateway.find(query)
            _complete(page)
            for run in page.runs:
                yield typed(workflow, run)
            if page.cursor is None:
                return
            query = query.model_copy(update={"cursor": page.cursor})

    async def count(self, asked: Filter | None = None) -> int:
        """How many runs fit a filter; of a `Query`, its filter counts.

        Raises WorkflowNotFound, InvalidQuery, and NotReady if a worker can't tell its runs.
        """
        count = await self._gateway.count((asked or Filter()).filter())
        _complete(count)
        return count.count

    async def bulk(
        self, action: Action, asked: Filter, reason: str = "", *, batch: int = 100
    ) -> AsyncIterator[Bulk]:
        """Do the same to all runs that fit a filter, by so many at a time; tell of each batch.

        Whoever stops asking leaves the rest as it is. Runs are looked at once each, by foreign
        id; one that comes to fit meanwhile is changed too if its foreign id is yet to come.

        Raises WorkflowNotFound, InvalidQuery, and NotReady if a worker can't be asked. A run that
        refuses is told of in its batch.
        """
        steering = BulkSteering.of(
            action=action, query=asked.filter(), reason=reason, key=uuid4().hex, limit=batch
        )
        while True:
            done = await self._gateway.bulk(steering)
            yield done
            if done.cursor is None:
                return
            steering = steering.model_copy(update={"cursor": done.cursor})

    async def history(self, run_id: str) -> History:
        """Raises RunNotFound."""
        return await self._gateway.history(run_id)

    async def export(self, run_id: str) -> ExportedHistory:
        """All that the log has of a run, to be kept as test data: `streamwf.testing.replay` folds
        it. What is masked is masked, and what is encrypted is sealed.

        Raises RunNotFound, HistoryIncomplete, and TransitionRefused once its data is deleted.
        """
        return await self._gateway.export(run_id)

    async def roles(self) -> Roles:
        """What the workers do in each shard, and whether they are at it."""
        return await self._gateway.roles()

    async def workflows(self) -> Workflows:
        """Every workflow, with how many runs are where."""
        return await self._gateway.workflows()

    async def overview(self, window: timedelta = timedelta(minutes=10)) -> Overview:
        """How all workflows and workers are, and what has happened in a window up to now.

        Raises InvalidQuery for a window of more than an hour, or of less than a bucket.
        """
        return await self._gateway.overview(Window.of(window=window))

    async def describe(self, workflow: str) -> WorkflowView:
        """Raises WorkflowNotFound."""
        return await self._gateway.describe(workflow)


class Handle(Generic[ObjectT, StatusT]):
    """The latest run of a foreign id. Each call raises ForeignIdNotFound if there is none."""

    def __init__(
        self, client: Client, workflow: Workflow[ObjectT, StatusT], foreign_id: str
    ) -> None:
        self._client = client
        self._workflow = workflow
        self.foreign_id = foreign_id

    async def get(self) -> RunInfo[ObjectT, StatusT]:
        found = await self._client.latest(self._workflow, self.foreign_id)
        if found is None:
            raise ForeignIdNotFound(workflow=self._workflow.name, foreign_id=self.foreign_id)
        return found

    async def await_(
        self, status: StatusT | None = None, *, timeout: timedelta = timedelta(minutes=1)
    ) -> RunInfo[ObjectT, StatusT]:
        """As `Client.await_`."""
        run_id = (await self.get()).run_id
        return await self._client.await_(self._workflow, run_id, status, timeout=timeout)

    async def callback(
        self,
        name: str,
        payload: object = None,
        *,
        key: str | None = None,
        wait_for: timedelta = timedelta(0),
    ) -> CallbackView:
        """As `Client.callback`; with `wait_for` there need be no run yet."""
        return await self._client.callback(
            self._workflow,
            name,
            payload,
            foreign_id=self.foreign_id,
            key=key,
            wait_for=wait_for,
        )

    async def history(self) -> History:
        return await self._client.history((await self.get()).run_id)

    async def pause(self, reason: str = "", *, if_version: int | None = None) -> RunView:
        """As `Client.pause`. if_version: that of the run which is the latest by then."""
        run_id = (await self.get()).run_id
        return await self._client.pause(run_id, reason, if_version=if_version)

    async def resume(self, reason: str = "", *, if_version: int | None = None) -> RunView:
        """As `Client.resume`; if_version as of `pause`."""
        run_id = (await self.get()).run_id
        return await self._client.resume(run_id, reason, if_version=if_version)

    async def cancel(self, reason: str = "", *, if_version: int | None = None) -> RunView:
        """As `Client.cancel`; if_version as of `pause`."""
        run_id = (await self.get()).run_id
        return await self._client.cancel(run_id, reason, if_version=if_version)

    async def retry(self, reason: str = "", *, if_version: int | None = None) -> RunView:
        """As `Client.retry`; if_version as of `pause`."""
        run_id = (await self.get()).run_id
        return await self._client.retry(run_id, reason, if_version=if_version)

    async def delete_data(self, reason: str = "", *, if_version: int | None = None) -> RunView:
        """As `Client.delete_data`; if_version as of `pause`."""
        run_id = (await self.get()).run_id
        return await self._client.delete_data(run_id, reason, if_version=if_version)


def _complete(told: Page | Count) -> None:
    """Raises NotReady if it is not what all workers have."""
    if told.missing:
        what = f"a part of the runs ({', '.join(told.missing)})"
        raise NotReady(what=what, workers=told.missing)
