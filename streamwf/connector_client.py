"""The client's part for connectors, and what it speaks through."""

from typing import Any, Protocol

from .connected import Connected
from .connector_views import ConnectorAction, Connectors, ConnectorView
from .definition import Workflow
from .errors import NotReady


class ConnectorGateway(Protocol):
    """What a client speaks through about connectors. name: the workflow's."""

    async def connectors(self, name: str) -> Connectors: ...

    async def steer_connector(
        self, name: str, connector: str, action: ConnectorAction, reason: str
    ) -> ConnectorView: ...


class LocalConnectors:
    """Speaks about connectors to the operations of a host in this process."""

    _operations: Connected

    async def connectors(self, name: str) -> Connectors:
        return await self._operations.connectors(name)

    async def steer_connector(
        self, name: str, connector: str, action: ConnectorAction, reason: str
    ) -> ConnectorView:
        view = await self._operations.steer_connector(name, connector, action, reason)
        self._operations.check_connector(view)
        return view


class ConnectorClient:
    """The part of the client that looks at connectors and steers them."""

    _gateway: ConnectorGateway

    async def connectors(self, workflow: Workflow[Any, Any]) -> list[ConnectorView]:
        """All connectors of a workflow, by their names, with how far they have read.

        Raises NotReady if a worker can't tell what it reads.
        """
        found = await self._gateway.connectors(workflow.name)
        if found.missing:
            what = f"a part of the connectors ({', '.join(found.missing)})"
            raise NotReady(what=what, workers=found.missing)
        return found.connectors

    async def pause_connector(
        self, workflow: Workflow[Any, Any], name: str, reason: str = ""
    ) -> ConnectorView:
        """Use no more messages until it is resumed. It goes on where it was then.

        Raises ConnectorNotFound, and NotReady if a worker can't be asked.
        """
        return await self._gateway.steer_connector(workflow.name, name, "pause", reason)

    async def resume_connector(
        self, workflow: Workflow[Any, Any], name: str, reason: str = ""
    ) -> ConnectorView:
        """Raises ConnectorNotFound, and NotReady if a worker can't be asked."""
        return await self._gateway.steer_connector(workflow.name, name, "resume", reason)
