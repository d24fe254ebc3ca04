"""How values are spread: counts, sums, extremes and a histogram, that add up exactly."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from math import ceil, log2
from typing import Self

import msgspec

from backchannel.events import ZERO_BUCKET

__all__ = ["Distribution", "Score", "Values", "positions_of"]

_PER_DOUBLING = 32.0
_FEW = 12  # values that are counted one by one before Counter has begun
_FIRST = 1  # position of the value 1, behind the zero bucket


def positions_of(values: Sequence[int]) -> list[int]:
    """Returns the bucket of each value, counted from the zero bucket on.

    Twice as fast as to look in the table of ``backchannel.events.buckets``, and the same for every
    integer up to ``COUNT_MAX``: a test compares both on all boundaries and their neighbours.
    """
    if 0 in values:
        return [ceil(_PER_DOUBLING * log2(value)) + _FIRST if value else 0 for value in values]
    return [ceil(_PER_DOUBLING * log2(value)) + _FIRST for value in values]


class Values:
    """Some values, at least one, none negative, each counted as often as ``times`` says: what they
    add to any distribution."""

    __slots__ = ("count", "least", "most", "positions", "sum", "times")

    def __init__(self, values: Sequence[int], times: int = 1) -> None:
        self.times = times
        self.count = len(values) * times
        self.sum = sum(values) * times
        self.least = min(values)
        self.most = max(values)
        self.positions = positions_of(values)


class Distribution(msgspec.Struct, array_like=True):
    """Values from 0 up to ``COUNT_MAX``."""

    count: int = 0
    sum: int = 0
    least: int | None = None
    most: int = 0
    positions: dict[int, int] = {}
    """Counts by bucket, in order from the zero bucket, which is 0 here."""

    @classmethod
    def of(cls, values: Sequence[int]) -> Self:
        """Returns the distribution of some values."""
        distribution = cls()
        if values:
            distribution.take((Values(values),))
        return distribution

    @property
    def buckets(self) -> dict[int, int]:
        """Counts by bucket, rising: see ``backchannel.events.buckets``."""
        return {position + ZERO_BUCKET: n for position, n in sorted(self.positions.items())}

    def take(self, many: Sequence[Values]) -> None:
        """Adds values."""
        positions = self.positions
        once: list[list[int]] = []
        for values in many:
            self.count += values.count
            self.sum += values.sum
            self._widen(values.least, values.most)
            if values.times == 1:
                once.append(values.positions)
                continue
            for position in values.positions:
                positions[position] = positions.get(position, 0) + values.times
        if len(once) == 1 and len(once[0]) < _FEW:
            for position in once[0]:
                positions[position] = positions.get(position, 0) + 1
        elif once:
            # Counter's own loop in C, on a plain dict.
            Counter.update(positions, chain.from_iterable(once))  # type: ignore[call-overload]

    def add(self, other: "Distribution") -> None:
        """Adds another distribution."""
        self.count += other.count
        self.sum += other.sum
        self._widen(other.least, other.most)
        positions = self.positions
        if positions:
            get = positions.get
            for position, n in other.positions.items():
                positions[position] = get(position, 0) + n
        else:
            positions.update(other.positions)

    def exchange(self, old: "Distribution", new: "Distribution") -> None:
        """Takes ``old`` out and puts ``new`` in, which contains everything that ``old`` does."""
        if old.count == new.count:
            return  # it only grows, so nothing came
        self.count += new.count - old.count
        self.sum += new.sum - old.sum
        self._widen(new.least, new.most)
        positions, before = self.positions, old.positions
        for position, n in new.positions.items():
            step = n - before.get(position, 0)
            if step:
                positions[position] = positions.get(position, 0) + step

    def _widen(self, least: int | None, most: int) -> None:
        if least is not None and (self.least is None or least < self.least):
            self.least = least
        self.most = max(self.most, most)


class Score(msgspec.Struct, array_like=True):
    """Values that may be negative, without a histogram."""

    count: int = 0
    sum: int = 0
    least: int | None = None
    most: int | None = None

    def take(self, values: Sequence[int], times: int = 1) -> None:
        """Adds values, at least one, each as often as ``times`` says."""
        self._add(Score(len(values) * times, sum(values) * times, min(values), max(values)))

    def add(self, other: "Score") -> None:
        """Adds another score."""
        self._add(other)

    def exchange(self, old: "Score", new: "Score") -> None:
        """Takes ``old`` out and puts ``new`` in, which contains everything that ``old`` does."""
        self._add(Score(new.count - old.count, new.sum - old.sum, new.least, new.most))

    def _add(self, other: "Score") -> None:
        self.count += other.count
        self.sum += other.sum
        if other.least is not None and (self.least is None or other.least < self.least):
            self.least = other.least
        if other.most is not None and (self.most is None or other.most > self.most):
            self.most = other.most
