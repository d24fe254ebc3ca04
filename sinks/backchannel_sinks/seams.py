"""The seams of the sink: what it needs of Kafka and of ClickHouse, and nothing more."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from backchannel.events import DeadLetter
from backchannel_sinks.records import Place

__all__ = ["DeadLetterTopic", "Offsets", "Store"]


class Offsets(Protocol):
    """The group's commits, fenced: a member whose partitions were given away can't commit."""

    async def commit(self, positions: Mapping[Place, tuple[int, str]]) -> None:
        """Commits for each partition the next offset and a note beside it.

        Raises:
            FencedError: one of the partitions is somebody else's by now; nothing was committed.
        """
        ...


class Store(Protocol):
    """The tables."""

    async def insert(
        self, table: str, body: bytes, token: str, columns: Sequence[str] = ()
    ) -> None:
        """Stores newline-separated JSON rows as one block, once for each ``token``.

        ``columns`` names every field of the rows, so that the others need not be looked for;
        without it any column of the table may be in them.

        Raises:
            StoreAwayError: not now, or it is not known whether it was stored.
            RowsRefusedError: a row can't be read; nothing was stored.
        """
        ...

    async def producer_numbers(
        self, partition: int, epoch: int, before_offset: int
    ) -> Sequence[tuple[str, int]]:
        """Returns the last record number of each producer among the events below an offset.

        Raises:
            StoreAwayError: not now.
        """
        ...

    async def stored_offset(self, partition: int, epoch: int) -> int:
        """Returns the largest offset among the events of a partition; -1 when there is none.

        Raises:
            StoreAwayError: not now.
        """
        ...


class DeadLetterTopic(Protocol):
    """Where lines go that can't be stored."""

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        """Returns when all of them are durable.

        Raises:
            StoreAwayError: they are not; none may be taken for sent.
        """
        ...
