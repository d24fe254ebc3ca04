"""Which records and events were seen before, in one source partition.

Records of our SDK are numbered, gap-free, by producer and partition: one number a producer is all
that has to be remembered, at any age. For records without a number there is a bounded set of
event ids. Both are pure functions of the log up to an offset, so a worker that reads it again
decides the same.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator

__all__ = ["EVENT_IDS_MAX", "PRODUCERS_MAX", "EventIds", "ProducerNumbers"]

PRODUCERS_MAX = 10_000
"""Producers remembered in a partition; beyond, the one silent for longest is forgotten."""

EVENT_IDS_MAX = 100_000
"""Event ids remembered in a partition; beyond, the oldest is forgotten."""


class ProducerNumbers:
    """The last record number of each producer."""

    def __init__(self, last: Iterable[tuple[str, int]] = (), *, most: int = PRODUCERS_MAX) -> None:
        self._last: OrderedDict[str, int] = OrderedDict(last)
        self._most = most
        self.lost = 0
        """Records that are missing between the numbers that came."""

    def __contains__(self, producer_id: str) -> bool:
        return producer_id in self._last

    def is_new(self, producer_id: str, pseq: int) -> bool:
        """Notes a record, and says whether it is new: its number is above the last one. A jump
        over numbers is a loss, added to ``lost``."""
        last = self._last.get(producer_id)
        if last is not None and pseq <= last:
            return False
        if last is not None:
            self.lost += pseq - last - 1
        self._last[producer_id] = pseq
        self._last.move_to_end(producer_id)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        return True

    def items(self) -> list[tuple[str, int]]:
        """Returns the memory, the producer that was silent for longest first."""
        return list(self._last.items())


class EventIds:
    """The last event ids, oldest first, kept in segments so that a checkpoint writes only the end.

    Each id stands with the offset of its record: ids at or above the offset where reading goes on
    are not "seen before" when those records come again.
    """

    SEGMENT_IDS = 4_096

    def __init__(self, *, most: int = EVENT_IDS_MAX) -> None:
        self._most = most
        self._ids: set[str] = set()
        self._segments: deque[tuple[int, list[tuple[int, str]]]] = deque()
        self._changed: dict[int, None] = {}
        self._expired = 0  # ids of the first segment that are forgotten already

    def __len__(self) -> int:
        return len(self._ids)

    def is_new(self, event_id: str, offset: int) -> bool:
        """Notes an event, and says whether it is new."""
        if event_id in self._ids:
            return False
        self._ids.add(event_id)
        if not self._segments or len(self._segments[-1][1]) >= self.SEGMENT_IDS:
            number = self._segments[-1][0] + 1 if self._segments else 0
            self._segments.append((number, []))
        number, ids = self._segments[-1]
        ids.append((offset, event_id))
        self._changed[number] = None
        if len(self._ids) > self._most:
            self._forget_oldest()
        return True

    def changes(self) -> Iterator[tuple[int, list[tuple[int, str]] | None]]:
        """Yields what is to be written since the last call: segments by number, ``None`` for one
        that is gone."""
        kept = dict(self._segments)
        for number in self._changed:
            yield number, kept.get(number)
        self._changed.clear()

    def restore(
        self, segments: Iterable[tuple[int, list[tuple[int, str]]]], next_offset: int
    ) -> None:
        """Takes written segments back, up to the record before ``next_offset``."""
        for number, ids in sorted(segments):
            read = [(offset, event_id) for offset, event_id in ids if offset < next_offset]
            if read:
                self._segments.append((number, read))
                self._ids.update(event_id for _, event_id in read)
        while len(self._ids) > self._most:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        number, ids = self._segments[0]
        self._ids.discard(ids[self._expired][1])
        self._expired += 1
        if self._expired >= len(ids):
            self._segments.popleft()
            self._changed[number] = None
            self._expired = 0
