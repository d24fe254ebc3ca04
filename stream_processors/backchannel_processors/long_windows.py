"""Windows longer than the 10 s windows are held: sums that those were folded into.

    10 s ──▶ 5 m ──▶ 1 h ──▶ 1 d        each folded, once, when nothing can change it any more

A long window remembers by a bit which of its parts it contains. Folding a part again changes
nothing, and a part whose bit is set counts no more beside it: so a crash between writing a long
window and letting go of its parts loses nothing and counts nothing twice.
"""

from collections.abc import Iterable, Iterator

import msgspec

from backchannel.events import WIDTHS_S
from backchannel_processors.counters import MergeCounters
from backchannel_processors.erasures import Erasures
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import Measures
from backchannel_processors.partials import VERSION
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = ["FOLDED_S", "LONG_STATES_MAX", "PART_S", "LongWindows"]

FOLDED_S = tuple(width for width in WIDTHS_S if width > 60)
"""Widths that are folded; a minute is the sum of 10 s windows that are all held still."""

PART_S = dict(zip(FOLDED_S, (WIDTHS_S[0], *FOLDED_S), strict=False))
"""Width of the parts of each."""

LONG_STATES_MAX = 60_000
"""Long windows held in one merge partition; beyond, their rows say that they are incomplete."""

SeriesKey = tuple[str, Dims]


class _Long(msgspec.Struct):
    """One series in one long window."""

    total: Measures
    offsets: int = 0
    bits: int = 0
    """Which parts it contains, the first one lowest."""
    incomplete: bool = False


class _Key(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    origin: str
    width_s: int
    start: int
    grouping: str
    dims: Dims


class _State(msgspec.Struct, array_like=True, frozen=True):
    v: int
    offsets: int
    bits: int
    incomplete: bool
    measures: Measures


_decode_key = msgspec.json.Decoder(_Key).decode
_Place = tuple[int, int, SeriesKey]


class LongWindows:
    """The long windows of one origin in one merge partition."""

    KIND = "long"
    """What its keys on the changelog begin with."""

    def __init__(self, origin: str, counters: MergeCounters) -> None:
        self._counters = counters
        self._origin = origin
        self._windows: dict[int, dict[int, dict[SeriesKey, _Long]]] = {w: {} for w in FOLDED_S}
        self._count = 0
        self._full: set[tuple[int, int, str]] = set()
        self._unsaved: dict[_Place, None] = {}

    def starts(self, width_s: int) -> Iterable[int]:
        """Returns the starts of the windows that are held."""
        return self._windows[width_s].keys()

    def keys(self, width_s: int, start: int) -> Iterable[SeriesKey]:
        """Returns the series in a window."""
        return self._windows[width_s].get(start, {}).keys()

    def folded(self, width_s: int, start: int, key: SeriesKey) -> tuple[Measures, int] | None:
        """Returns what was folded into a window, and the sum of its offsets."""
        long = self._windows[width_s].get(start, {}).get(key)
        return (long.total, long.offsets) if long else None

    def contains(self, width_s: int, start: int, key: SeriesKey, part: int) -> bool:
        """Says whether the part that begins at ``part`` was folded into a window."""
        long = self._windows[width_s].get(start, {}).get(key)
        return long is not None and bool(long.bits >> _bit(width_s, start, part) & 1)

    def is_complete(self, width_s: int, start: int, key: SeriesKey) -> bool:
        """Says that nothing was left out of what was folded."""
        long = self._windows[width_s].get(start, {}).get(key)
        return (long is None or not long.incomplete) and (
            (width_s, start, key[0]) not in self._full
        )

    def fold(
        self, part: int, key: SeriesKey, total: Measures, offsets: int, *, incomplete: bool
    ) -> None:
        """Adds a 10 s window that nothing can change any more."""
        self._fold(FOLDED_S[0], part, key, total, offsets, incomplete=incomplete)

    def let_go(self, before_s: int, kept: Iterable[_Place] = ()) -> Iterator[Entry]:
        """Folds the windows that end at ``before_s`` or earlier into longer ones and lets go of
        them, but for the ``kept`` ones; yields what is to be taken off the changelog."""
        keep = set(kept)
        for width_s in FOLDED_S:
            longer = next((each for each in FOLDED_S if each > width_s), None)
            windows = self._windows[width_s]
            for start in sorted(each for each in windows if each + width_s <= before_s):
                for key, long in list(windows[start].items()):
                    if (width_s, start, key) in keep:
                        continue
                    if longer is not None:
                        incomplete = not self.is_complete(width_s, start, key)
                        self._fold(
                            longer, start, key, long.total, long.offsets, incomplete=incomplete
                        )
                    del windows[start][key]
                    self._count -= 1
                    self._unsaved.pop((width_s, start, key), None)
                    yield self._key(width_s, start, key), None
                if not windows[start]:
                    del windows[start]
                    self._full = {each for each in self._full if each[:2] != (width_s, start)}

    def _fold(
        self,
        width_s: int,
        part: int,
        key: SeriesKey,
        total: Measures,
        offsets: int,
        *,
        incomplete: bool,
    ) -> None:
        start = part - part % width_s
        series = self._windows[width_s].setdefault(start, {})
        long = series.get(key)
        if long is None:
            if self._count >= LONG_STATES_MAX:
                self._counters.long_windows_without_room += 1
                self._full.add((width_s, start, key[0]))
                return
            long = series[key] = _Long(Measures())
            self._count += 1
        bit = 1 << _bit(width_s, start, part)
        if long.bits & bit:
            return
        long.total.add(total)
        long.offsets += offsets
        long.bits |= bit
        long.incomplete |= incomplete
        self._unsaved[width_s, start, key] = None

    def erase(self, erasures: Erasures) -> Iterator[Entry]:
        """Lets go of the windows of those who were erased; yields the deletions to be written."""
        for width_s, windows in self._windows.items():
            for start, series in windows.items():
                for key in [each for each in series if erasures.covers(*each, start * 1_000_000)]:
                    del series[key]
                    self._count -= 1
                    self._unsaved.pop((width_s, start, key), None)
                    yield self._key(width_s, start, key), None
            self._windows[width_s] = {at: each for at, each in windows.items() if each}

    # -- keeping ---------------------------------------------------------------------------------

    def changes(self) -> Iterator[Entry]:
        """Yields what is to be written since the last call."""
        for width_s, start, key in self._unsaved:
            long = self._windows[width_s][start][key]
            state = _State(VERSION, long.offsets, long.bits, long.incomplete, long.total)
            yield self._key(width_s, start, key), encode_state(state)
        self._unsaved.clear()

    @staticmethod
    def origin_of(key: bytes) -> str:
        """Returns the origin that a key on the changelog is of."""
        return _decode_key(key).origin

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes an entry back. Of two writes the one that contains more counts.

        Raises:
            StateError: another version wrote it.
        """
        place = _decode_key(key)
        series_key = (place.grouping, place.dims)
        windows = self._windows[place.width_s]
        series = windows.setdefault(place.start, {})
        known = series.get(series_key)
        if value is None:
            self._count -= series.pop(series_key, None) is not None
        else:
            state = decode_state(value, _State)
            if known is None or state.offsets >= known.offsets:
                self._count += known is None
                series[series_key] = _Long(
                    state.measures, state.offsets, state.bits, state.incomplete
                )
        if not series:
            del windows[place.start]

    def _key(self, width_s: int, start: int, key: SeriesKey) -> bytes:
        return encode_state(_Key(self.KIND, self._origin, width_s, start, *key))


def _bit(width_s: int, start: int, part: int) -> int:
    return (part - start) // PART_S[width_s]
