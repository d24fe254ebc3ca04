"""The past of the series that rules look far back on: sums of quantities, by stretch of time.

    10 s windows, held while they can change ──▶ fold, once, when they are let go ──▶ stretches

A stretch knows the newest window that is in it. Folding the same window again changes nothing, so
a crash between writing a stretch and letting go of its windows costs nothing and counts nothing
twice: what is held still counts only where the stretches do not contain it yet.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from backchannel_processors.counters import MergeCounters
from backchannel_processors.erasures import Erasures
from backchannel_processors.frames import Frame
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import Measures
from backchannel_processors.partials import VERSION
from backchannel_processors.rule_metrics import quantity
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = ["SERIES_MAX", "History", "Needs", "Past"]

SERIES_MAX = 20_000
"""Series with a past in one merge partition; further ones have none, and are counted."""

_FORGET_EVERY_S = 60

SeriesKey = tuple[str, Dims]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the rules want to know of the past of the series of a grouping."""

    quantities: frozenset[str] = frozenset()
    frames: frozenset[Frame] = frozenset()

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(self.quantities | other.quantities, self.frames | other.frames)


class _Stretch(msgspec.Struct, array_like=True):
    v: int
    through: int
    """Start of the newest window that is in it."""
    sums: dict[str, int]
    since: int = -1
    """Start of the oldest one."""


class _Key(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    grouping: str
    dims: Dims
    frame: str
    start: int


class _Began(msgspec.Struct, array_like=True, frozen=True):
    v: int
    at: int


class _BeganKey(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    grouping: str
    frame: str
    quantity: str


@dataclass(frozen=True, slots=True)
class Past:
    """Sums over some stretches."""

    sums: Mapping[str, int]
    through: int
    """Windows that start later are not in it."""


_NOTHING = Past({}, -1)
_decode_key = msgspec.json.Decoder(_Key).decode
_decode_began_key = msgspec.json.Decoder(_BeganKey).decode


class History:
    """The past of the series of one merge partition."""

    def __init__(
        self, needs: Mapping[str, Needs], counters: MergeCounters, *, series_max: int = SERIES_MAX
    ) -> None:
        self._counters = counters
        self._series_max = series_max
        self._stretches: dict[SeriesKey, dict[str, dict[int, _Stretch]]] = {}
        self._began: dict[_BeganKey, int] = {}
        self._forget_at_s = 0
        self._unsaved: dict[_Key, None] = {}
        self._unsaved_began: dict[_BeganKey, None] = {}
        self._sums: dict[tuple[SeriesKey, str], tuple[int, Past]] = {}
        self.expect(needs)

    def expect(self, needs: Mapping[str, Needs]) -> None:
        """Takes in what the rules want from now on."""
        self._needs = dict(needs)
        self._quantities = {
            name: {each: quantity(each) for each in sorted(need.quantities)}
            for name, need in needs.items()
        }

    def keeps(self, grouping: str) -> bool:
        """Says whether a rule looks far back on the series of a grouping."""
        need = self._needs.get(grouping)
        return need is not None and bool(need.frames)

    def fold(self, start: int, grouping: str, dims: Dims, measures: Measures) -> None:
        """Adds the window that begins at ``start`` (Unix seconds). Windows come in their order."""
        if not self.keeps(grouping):
            return
        key = (grouping, dims)
        by_frame = self._stretches.get(key)
        if by_frame is None:
            if len(self._stretches) >= self._series_max:
                self._counters.history_without_room += 1
                return
            by_frame = self._stretches[key] = {}
        sums = {name: take(measures) for name, take in self._quantities[grouping].items()}
        for frame in self._needs[grouping].frames:
            self._note_beginning(grouping, frame.name, start)
            first = frame.start(start)
            stretches = by_frame.setdefault(frame.name, {})
            stretch = stretches.setdefault(first, _Stretch(VERSION, -1, {}, start))
            if start <= stretch.through:
                continue
            stretch.through = start
            for name, n in sums.items():
                stretch.sums[name] = stretch.sums.get(name, 0) + n
            self._unsaved[_Key("past", grouping, dims, frame.name, first)] = None
            self._sums.pop((key, frame.name), None)

    def _note_beginning(self, grouping: str, frame: str, start: int) -> None:
        for name in self._quantities[grouping]:
            key = _BeganKey("began", grouping, frame, name)
            if key not in self._began:
                self._began[key] = start
                self._unsaved_began[key] = None

    def erase(self, erasures: Erasures) -> Iterator[Entry]:
        """Lets go of the past of those who were erased; yields the deletions to be written."""
        for series, by_frame in list(self._stretches.items()):
            asked_us = erasures.asked_us(*series)
            if asked_us < 0:
                continue
            for name, stretches in by_frame.items():
                for start in [at for at, s in stretches.items() if s.since * 1_000_000 <= asked_us]:
                    del stretches[start]
                    key = _Key("past", *series, name, start)
                    self._unsaved.pop(key, None)
                    yield encode_state(key), None
                self._sums.pop((series, name), None)
            if not any(by_frame.values()):
                del self._stretches[series]

    def knows_since(self, grouping: str, frame: Frame, names: frozenset[str]) -> int | None:
        """Returns since when all these quantities are summed up; ``None`` when they are not yet."""
        keys = [_BeganKey("began", grouping, frame.name, name) for name in names]
        if not all(key in self._began for key in keys):
            return None
        return max(self._began[key] for key in keys)

    def since(self, grouping: str, dims: Dims, frame: Frame, first: int) -> Past:
        """Returns the sums over all stretches that begin at ``first`` or later."""
        key = (grouping, dims)
        known = self._sums.get((key, frame.name))
        if known is not None and known[0] == first:
            return known[1]
        stretches = self._stretches.get(key, {}).get(frame.name)
        past = _sum([s for start, s in stretches.items() if start >= first]) if stretches else None
        found = past or _NOTHING
        self._sums[key, frame.name] = (first, found)
        return found

    def one(self, grouping: str, dims: Dims, frame: Frame, first: int) -> Past:
        """Returns the sums over the stretch that begins at ``first``."""
        stretches = self._stretches.get((grouping, dims), {}).get(frame.name, {})
        return _sum([stretches[first]]) if first in stretches else _NOTHING

    # -- keeping ---------------------------------------------------------------------------------

    def changes(self) -> Iterator[Entry]:
        """Yields what is to be written since the last call."""
        for key in self._unsaved:
            stretches = self._stretches.get((key.grouping, key.dims), {}).get(key.frame, {})
            if key.start in stretches:
                yield encode_state(key), encode_state(stretches[key.start])
        self._unsaved.clear()
        for began in self._unsaved_began:
            yield encode_state(began), encode_state(_Began(VERSION, self._began[began]))
        self._unsaved_began.clear()

    def forget(self, reached_s: int) -> Iterator[Entry]:
        """Lets go of what is older than it is kept for; yields the deletions to be written."""
        if reached_s < self._forget_at_s:
            return
        self._forget_at_s = reached_s + _FORGET_EVERY_S
        for series, by_frame in list(self._stretches.items()):
            keep = {frame.name: frame.keep_s for frame in self._frames(series[0])}
            for name, stretches in list(by_frame.items()):
                before = reached_s - keep.get(name, 0)
                for start in [each for each in stretches if each < before]:
                    del stretches[start]
                    yield encode_state(_Key("past", *series, name, start)), None
                if not stretches:
                    del by_frame[name]
                    self._sums.pop((series, name), None)
            if not by_frame:
                del self._stretches[series]

    def _frames(self, grouping: str) -> frozenset[Frame]:
        need = self._needs.get(grouping)
        return need.frames if need else frozenset()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes back one entry that was written; of two of the same stretch the one with more.

        Raises:
            StateError: another version wrote it.
        """
        if key.startswith(b'["began"'):
            if value is not None:
                self._began[_decode_began_key(key)] = decode_state(value, _Began).at
            return
        at = _decode_key(key)
        stretches = self._stretches.setdefault((at.grouping, at.dims), {}).setdefault(at.frame, {})
        if value is None:
            stretches.pop(at.start, None)
            return
        stretch = decode_state(value, _Stretch)
        known = stretches.get(at.start)
        if known is None or stretch.through >= known.through:
            stretches[at.start] = stretch


def _sum(stretches: list[_Stretch]) -> Past:
    sums: dict[str, int] = {}
    through = -1
    for stretch in stretches:
        through = max(through, stretch.through)
        for name, n in stretch.sums.items():
            sums[name] = sums.get(name, 0) + n
    return Past(sums, through)
