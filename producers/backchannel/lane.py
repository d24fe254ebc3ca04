"""The way to one partition: events in order, one sealed batch under way at a time."""

import asyncio
from collections import deque

from backchannel.events import SealedBatch, seal

__all__ = ["Lane"]


class Lane:
    """What is to be sent to one partition.

    One batch at a time, because readers drop every ``pseq`` that is not above the last: were two
    under way, the first could be sent again after the second was stored, and be taken for a
    repeat. It costs little: while a batch is under way the next one grows, so batches are as large
    as the load asks for.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.lines: deque[bytes] = deque()
        self.sealed: SealedBatch | None = None
        """The batch under way; the same bytes are sent again until it is settled."""
        self.sealed_line_bytes = 0
        self.filled = asyncio.Event()
        """Set when there are events to seal; cleared by whoever waits for it."""
        self.dealt = 0
        """Events that were ever put in."""
        self.settled = 0
        """Events that are acknowledged or lost."""
        self._pseq = 0

    def put(self, line: bytes) -> None:
        """Puts an event at the end."""
        self.lines.append(line)
        self.dealt += 1

    def seal(self, producer_id: str, origin: str, bytes_max: int) -> SealedBatch:
        """Freezes the oldest events into the next batch, at most ``bytes_max`` unless one event is
        larger than that. Needs at least one event."""
        assert self.sealed is None, "one batch at a time"
        lines = self.lines
        chosen = [lines.popleft()]
        size = len(chosen[0])
        while lines and size + 1 + len(lines[0]) <= bytes_max:
            line = lines.popleft()
            chosen.append(line)
            size += 1 + len(line)
        self._pseq += 1
        self.sealed = seal(chosen, producer_id=producer_id, pseq=self._pseq, origin=origin)
        self.sealed_line_bytes = size - (len(chosen) - 1)
        return self.sealed

    def settle(self) -> int:
        """The batch under way is acknowledged or lost. Returns how many events were in it."""
        assert self.sealed is not None, "a batch is under way"
        count = self.sealed.count
        self.settled += count
        self.sealed = None
        return count
