"""Up to where a log is folded when it is looked at as it was: a time, or places in it. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from .errors import PartitionNotFound, PartitionNotNamed


@dataclass(frozen=True, slots=True)
class Offsets:
    """The last event of each partition that counts. Of partitions that are not named, none does.

    alone: that of the only partition there is; or, of_run, that of whichever has the run that is
        looked for.
    """

    named: Mapping[int, int] = field(default_factory=dict)
    alone: int | None = None
    of_run: bool = False

    def ends(self, partitions: Collection[int]) -> dict[int, int]:
        """The offset after the last event that counts, by partition.

        partitions: all that the log has. Raises PartitionNotFound and PartitionNotNamed.
        """
        if self.alone is not None:
            if len(partitions) > 1 and not self.of_run:
                raise PartitionNotNamed(offset=self.alone, count=len(partitions))
            return dict.fromkeys(partitions, self.alone + 1)
        unknown = set(self.named) - set(partitions)
        if unknown:
            raise PartitionNotFound(partition=min(unknown), last=max(partitions))
        return {partition: last + 1 for partition, last in self.named.items()}


#: A time is that at which the log has got an event; one at that very time counts.
Until: TypeAlias = datetime | Offsets
