"""The last record number of each producer in a partition: what is not above it is a repeat."""

from collections import OrderedDict
from collections.abc import Iterable

__all__ = ["PRODUCERS_MAX", "ProducerNumbers"]

PRODUCERS_MAX = 10_000
"""Producers remembered in a partition; beyond, the one silent for longest is forgotten."""


class ProducerNumbers:
    """What was seen of each producer. Kept apart from a block under way, so that a block that is
    built again is built the same."""

    def __init__(self, last: Iterable[tuple[str, int]] = ()) -> None:
        self._last: OrderedDict[str, int] = OrderedDict(last)

    def last(self, producer_id: str) -> int | None:
        """Returns the number of the producer's last record; ``None`` for one never seen."""
        return self._last.get(producer_id)

    def update(self, seen: Iterable[tuple[str, int]]) -> None:
        """Takes in the numbers of a block that is stored."""
        for producer_id, pseq in seen:
            self._last[producer_id] = pseq
            self._last.move_to_end(producer_id)
        while len(self._last) > PRODUCERS_MAX:
            self._last.popitem(last=False)
