"""The way to one partition: events in order, one sealed batch under way at a time."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backchannel.events import SealedBatch, seal

if TYPE_CHECKING:
    from backchannel.sending.spool import Spooled

__all__ = ["Lane", "Parcel"]

_FEW = 1024
"""Lines whose sum is worth a try: with more it is an outage, and they do not fit one batch."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A sealed batch, in memory or on disk, and what its events are counted as."""

    count: int
    line_bytes: int
    """Bytes of its lines, if it is in memory and ours."""
    batch: SealedBatch | None
    """Its bytes; ``None`` while they are on disk alone."""
    place: "Spooled | None" = None
    own: bool = True
    """Whether its events are of this producer; else an earlier one left them behind."""


class Lane:
    """What is to be sent to one partition: the parcel under way, the parcels that wait behind it,
    and the lines that are not sealed yet. In this order, so that no event overtakes another.

    One batch at a time, because readers drop every ``pseq`` that is not above the last: were two
    under way, the first could be sent again after the second was stored, and be taken for a
    repeat. It costs little: while a batch is under way the next one grows, so batches are as large
    as the load asks for.
    """

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.lines: deque[bytes] = deque()
        self.waiting: deque[Parcel] = deque()
        """Sealed before their turn: only what was spilled to disk, or was to be."""
        self.under_way: Parcel | None = None
        """The same bytes are sent again until it is settled."""
        self.filled = asyncio.Event()
        """Set when there is something to send; cleared by whoever waits for it."""
        self.put = self.lines.append
        """Puts an event at the end."""
        self.settled = 0
        """Events of this producer that are acknowledged or lost."""
        self._pseq = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self.under_way or self.waiting or self.lines)

    @property
    def dealt(self) -> int:
        """Events of this producer that were ever put in."""
        parcels = (self.under_way, *self.waiting)
        sealed = sum(parcel.count for parcel in parcels if parcel is not None and parcel.own)
        return self.settled + sealed + len(self.lines)

    def next(self, producer_id: str, origin: str, bytes_max: int) -> Parcel:
        """Returns what is to be sent now, and keeps it under way. Needs something to send."""
        if self.under_way is None:
            if self.waiting:
                self.under_way = self.waiting.popleft()
            else:
                self.under_way = self.seal(producer_id, origin, bytes_max)
        return self.under_way

    def seal(self, producer_id: str, origin: str, bytes_max: int) -> Parcel:
        """Freezes the oldest lines into the next batch, at most ``bytes_max`` unless one event is
        larger than that. Needs at least one line. The batch must be sent, or wait, from now on."""
        chosen = self._oldest(bytes_max)
        self._pseq += 1
        batch = seal(chosen, producer_id=producer_id, pseq=self._pseq, origin=origin)
        return Parcel(batch.count, len(batch.value) - (len(chosen) - 1), batch)

    def _oldest(self, bytes_max: int) -> list[bytes]:
        """Takes out as many of the oldest lines as make a batch."""
        lines = self.lines
        if len(lines) <= _FEW and sum(map(len, lines)) + len(lines) - 1 <= bytes_max:
            chosen = list(lines)  # all of them, as nearly always: without a look at each
            lines.clear()
            return chosen
        chosen = [lines.popleft()]
        size = len(chosen[0])
        while lines and size + 1 + len(lines[0]) <= bytes_max:
            line = lines.popleft()
            chosen.append(line)
            size += 1 + len(line)
        return chosen

    def settle(self) -> Parcel:
        """The parcel under way is acknowledged or lost. Returns it."""
        parcel = self.under_way
        assert parcel is not None, "a batch is under way"
        if parcel.own:
            self.settled += parcel.count
        self.under_way = None
        return parcel
