"""How many different ids there were, about: HyperLogLog registers.

``p = 12``: 4,096 registers, a standard error of 1.6 %. The hash is XXH64 with seed 0, so
ClickHouse's ``xxHash64`` makes the very same registers; merging is taking the larger rank of each,
exact in any order. Only the estimate made from them is approximate.
"""

import zlib
from base64 import b64decode
from collections.abc import Iterable
from itertools import compress
from math import log

import msgspec
from xxhash import xxh64_intdigest

__all__ = ["PRECISION", "REGISTERS", "Marks", "Registers", "marks_of"]

PRECISION = 12
REGISTERS = 1 << PRECISION

Marks = set[int]
"""What ids leave behind: register times 64 plus rank."""

_REST_BITS = 64 - PRECISION
_REST = (1 << _REST_BITS) - 1
_RANK_BITS = 6
_RANK = (1 << _RANK_BITS) - 1
_RANK_MAX = _REST_BITS + 1
_FEW = 64
"""Marks up to which a set of them is smaller and faster than a byte for every register."""
_HIGHEST_BITS = int.from_bytes(b"\x80" * REGISTERS, "little")
_DEFLATE_BITS = -PRECISION  # a window of all registers, and no header
_INDEXES = tuple(range(REGISTERS))
_NOBODY = -1
_IDS_REMEMBERED = 65_536


class _MarkById(dict[str, int]):
    """Marks of ids that came lately: to look one up costs a fifth of hashing the id."""

    def __missing__(self, each: str) -> int:
        if not each:
            return _NOBODY
        hashed = xxh64_intdigest(each.encode())
        rank = _RANK_MAX - (hashed & _REST).bit_length()
        mark = self[each] = hashed >> _REST_BITS << _RANK_BITS | rank
        return mark


_mark_by_id = _MarkById()


def marks_of(ids: Iterable[str]) -> Marks:
    """Returns the marks of some ids; the empty id names nobody."""
    if len(_mark_by_id) > _IDS_REMEMBERED:
        _mark_by_id.clear()
    marks = set(map(_mark_by_id.__getitem__, ids))
    marks.discard(_NOBODY)
    return marks


class Registers:
    """The highest rank that ids have left in each register.

    Held as marks while they are few, then as a byte for every register. Which of both follows from
    the ids alone: the same ids make equal states, whatever the order they came in.
    """

    __slots__ = ("_marks", "_ranks")

    def __init__(self) -> None:
        self._marks: Marks = set()
        self._ranks = bytearray()
        """One for each register, or none at all while marks are enough."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Registers) and (
            (self._marks, self._ranks) == (other._marks, other._ranks)
        )

    def take(self, marks: Marks) -> None:
        """Adds marks."""
        if not self._ranks:
            self._marks |= marks
            if len(self._marks) <= _FEW:
                return
            marks, self._marks, self._ranks = self._marks, set(), bytearray(REGISTERS)
        ranks = self._ranks
        # A comparison: a call of max for each of so many marks costs more than all the rest.
        for mark in marks:
            rank = mark & _RANK
            if rank > ranks[mark >> _RANK_BITS]:  # noqa: PLR1730
                ranks[mark >> _RANK_BITS] = rank

    def unite(self, other: "Registers") -> None:
        """Adds what others have left."""
        if not other._ranks:
            self.take(other._marks)
        elif self._ranks:
            self._ranks = _higher(self._ranks, other._ranks)
        else:
            marks, self._marks, self._ranks = self._marks, set(), bytearray(other._ranks)
            self.take(marks)

    @property
    def ranks(self) -> dict[int, int]:
        """The rank of each register that has one, rising by register."""
        ranks = self._ranks
        if ranks:
            return dict(zip(compress(_INDEXES, ranks), filter(None, ranks), strict=True))
        return {mark >> _RANK_BITS: mark & _RANK for mark in sorted(self._marks)}

    @property
    def estimate(self) -> int:
        """How many ids made them, about: Ertl's estimator, which needs no correction for small or
        large numbers (O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
        2017)."""
        ranks = self._ranks or bytes(self.ranks.values())
        if not ranks:
            return 0
        total = REGISTERS * _tau(1 - ranks.count(_RANK_MAX) / REGISTERS)
        for rank in range(_REST_BITS, 0, -1):
            total = 0.5 * (total + ranks.count(rank))
        empty = REGISTERS - len(ranks) + ranks.count(0)
        total += REGISTERS * _sigma(empty / REGISTERS)
        return round(REGISTERS * REGISTERS / (2 * log(2)) / total)

    def pack(self) -> Marks | bytes:
        """Returns them as what JSON has a type for: ``enc_hook`` of what writes states."""
        if self._ranks:
            return zlib.compress(self._ranks, level=1, wbits=_DEFLATE_BITS)
        return self._marks

    @classmethod
    def unpack(cls, kind: type, packed: object) -> "Registers":
        """Returns what was packed: ``dec_hook`` of what reads states.

        Raises:
            ValueError: it is nothing that was packed.
        """
        assert kind is cls
        registers = cls()
        if isinstance(packed, str):
            try:
                ranks = zlib.decompress(b64decode(packed), _DEFLATE_BITS, REGISTERS)
            except zlib.error as error:
                raise ValueError("no registers") from error
            if len(ranks) != REGISTERS:
                raise ValueError(f"{len(ranks)} registers")
            registers._ranks += ranks
        else:
            registers._marks = msgspec.convert(packed, Marks)
        return registers


def _higher(one: bytearray, other: bytearray) -> bytearray:
    """Returns the higher one of each two ranks.

    All at once, as one subtraction of two large numbers: with the highest bit of each byte set
    beforehand nothing is borrowed across bytes, and where it stays set the first one is not lower.
    """
    a, b = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    not_lower = ((a | _HIGHEST_BITS) - b) & _HIGHEST_BITS
    of_a = not_lower - (not_lower >> 7)  # all bits of a rank
    return bytearray((b ^ ((a ^ b) & of_a)).to_bytes(REGISTERS, "little"))


def _sigma(x: float) -> float:
    step, total, before = 1.0, x, -1.0
    while total != before:
        x *= x
        before = total
        total += x * step
        step += step
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    step, total, before = 1.0, 1 - x, -1.0
    while total != before:
        x **= 0.5
        before = total
        step *= 0.5
        total -= (1 - x) ** 2 * step
    return total / 3
