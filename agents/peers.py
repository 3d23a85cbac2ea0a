"""The other workers of the group, as Faust's assignment tells of them."""

from typing import Any

from streamwf.adapters.kafka.topics import Topics, partition_of
from streamwf.errors import NotReady


class FaustPeers:
    """Implements `streamwf.adapters.web.Peers`."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def owner(self, workflow: str, foreign_id: str) -> str | None:
        """The URL of the worker that owns a foreign id; None if it is this one.

        Raises NotReady while nobody does.
        """
        settings = self._app.settings
        changelog = Topics.of(workflow, settings).changelog
        partition = partition_of(foreign_id, settings.partitions)
        for url, topics in self._workers():
            if partition in topics.get(changelog, ()):
                return None if url == self._own else url
        raise NotReady(what=f"the shard of {foreign_id!r}")

    def others(self) -> list[str]:
        """The URLs of all other workers."""
        return [url for url, _ in self._workers() if url != self._own]

    @property
    def _own(self) -> str:
        return str(self._app.conf.canonical_url).rstrip("/")

    def _workers(self) -> list[tuple[str, dict[str, list[int]]]]:
        distribution = self._app.assignor.tables_metadata()
        return [(str(url).rstrip("/"), dict(topics)) for url, topics in distribution.items()]
