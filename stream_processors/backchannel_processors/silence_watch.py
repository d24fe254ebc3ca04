"""Since when each series has been silent, on a clock that only runs while everything is read.

That clock follows the wall clock as far as all of ``chat.events`` has been read, and no step of it
counts for more than ``STEP_US_MAX``: neither an outage of the workers nor a host whose clock is set
makes a series look silent.
"""

from collections.abc import Iterator, Mapping

import msgspec

from backchannel_processors.counters import MergeCounters
from backchannel_processors.erasures import Erasures
from backchannel_processors.groupings import Dims
from backchannel_processors.measures import Exemplar
from backchannel_processors.partials import VERSION
from backchannel_processors.states import Entry, decode_state, encode_state

__all__ = ["SEEN_MAX", "STEP_US_MAX", "Seen", "SilenceWatch"]

STEP_US_MAX = 30_000_000

SEEN_MAX = 100_000
"""Series watched for silence in one merge partition; further ones are not, and are counted."""

_SAVE_EVERY_US = 10_000_000

SeriesKey = tuple[str, Dims]


class _Key(msgspec.Struct, array_like=True, frozen=True):
    kind: str
    grouping: str = ""
    dims: Dims = ()


class Seen(msgspec.Struct, array_like=True, frozen=True):
    """When a series was heard of last."""

    at_us: int
    """On the clock of the watch."""
    newest: Exemplar = (0, "")
    """Event time and id of its newest event."""


class _SeenState(msgspec.Struct, array_like=True, frozen=True):
    v: int
    seen: Seen


_CLOCK_KEY = _Key("quiet")
_decode_key = msgspec.json.Decoder(_Key).decode


class SilenceWatch:
    """The series of one merge partition that a ``no_data`` rule watches."""

    def __init__(self, counters: MergeCounters) -> None:
        self.clock_us = 0
        """How long everything has been read, all in all."""
        self._counters = counters
        self._read_us: int | None = None
        self._seen: dict[SeriesKey, Seen] = {}
        self._saved: dict[SeriesKey, Seen] = {}
        self._unsaved: dict[_Key, None] = {}

    def saw(self, series: SeriesKey, newest: Exemplar = (0, "")) -> None:
        """Notes that a series has just been heard of, and its newest event."""
        known = self._seen.get(series)
        if known is None and len(self._seen) >= SEEN_MAX:
            self._counters.silence_without_room += 1
            return
        seen = Seen(self.clock_us, max(newest, known.newest) if known else newest)
        self._seen[series] = seen
        saved = self._saved.get(series)
        if saved is None or seen.at_us - saved.at_us >= _SAVE_EVERY_US:
            self._saved[series] = seen
            self._unsaved[_Key("seen", *series)] = None

    def advance(self, read_us: int) -> bool:
        """Takes in that all up to the wall clock ``read_us`` was read; says whether time moved."""
        if self._read_us is None or read_us <= self._read_us:
            # After a clock was set back, it goes on from there.
            self._read_us = read_us
            return False
        self.clock_us += min(read_us - self._read_us, STEP_US_MAX)
        self._read_us = read_us
        self._unsaved[_CLOCK_KEY] = None
        return True

    def items(self) -> Mapping[SeriesKey, Seen]:
        """Returns when each series was heard of last."""
        return self._seen

    def forget(self, series: SeriesKey) -> None:
        """Misses a series no longer."""
        self._seen.pop(series, None)
        self._saved.pop(series, None)
        self._unsaved[_Key("seen", *series)] = None

    def erase(self, erasures: Erasures) -> Iterator[Entry]:
        """Misses those no longer who were erased; yields the deletions to be written."""
        for series, seen in list(self._seen.items()):
            if erasures.covers(*series, seen.newest[0]):
                self.forget(series)
                key = _Key("seen", *series)
                del self._unsaved[key]
                yield encode_state(key), None

    def changes(self) -> Iterator[Entry]:
        """Yields what is to be written since the last call."""
        for key in self._unsaved:
            if key == _CLOCK_KEY:
                yield encode_state(key), encode_state(_SeenState(VERSION, Seen(self.clock_us)))
            else:
                seen = self._saved.get((key.grouping, key.dims))
                value = None if seen is None else encode_state(_SeenState(VERSION, seen))
                yield encode_state(key), value
        self._unsaved.clear()

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Takes back one entry that was written.

        Raises:
            StateError: another version wrote it.
        """
        place = _decode_key(key)
        series = (place.grouping, place.dims)
        if value is None:
            self._seen.pop(series, None)
            self._saved.pop(series, None)
            return
        seen = decode_state(value, _SeenState).seen
        if place == _CLOCK_KEY:
            self.clock_us = max(self.clock_us, seen.at_us)
        elif series not in self._seen or seen.at_us >= self._seen[series].at_us:
            self._seen[series] = self._saved[series] = seen
