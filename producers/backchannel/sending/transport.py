"""The seam between the sender and whatever carries sealed batches away."""

from typing import Protocol

from backchannel.events import SealedBatch

__all__ = ["Transport"]


class Transport(Protocol):
    """Carries sealed batches to the partitions of one topic.

    Used from one event loop. The sender has at most one batch of a partition under way, and
    several partitions at once.
    """

    async def connect(self) -> int:
        """Connects, or connects anew after ``close``. Returns how many partitions there are.

        Raises:
            UnreachableError: nobody answers; may be tried again.
        """
        ...

    async def send(self, partition: int, batch: SealedBatch) -> None:
        """Sends a batch and returns when it is stored for good.

        Raises:
            RefusedError: it is not stored and never will be.
            BrokenError: the connection is of no use any more; it may or may not be stored.
        """
        ...

    async def close(self) -> None:
        """Closes the connection, without waiting for what is under way. Takes a second at most.

        Batches under way may still be stored. Closing twice, or what never connected, is fine.
        """
        ...
