"""Walks through a span of time and holds every closed window to the events it was made of."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from clickhouse_connect.driver.client import Client

from backchannel.events import LIVE, WIDTHS_S
from backchannel_deploy.verify import stored
from backchannel_deploy.verify.compare import Kind, Mismatch, compare
from backchannel_deploy.verify.recount import Counted, Recount, SeriesKey
from backchannel_deploy.verify.stored import HOUR_S, Hour, StoredWindow
from backchannel_processors.groupings import Groupings
from backchannel_processors.measures import OTHER
from backchannel_processors.rows import Identity

__all__ = ["MISMATCHES_MAX", "Span", "WindowsFound", "check_windows"]

MISMATCHES_MAX = 100_000
"""Windows remembered that differ; beyond, they are only counted."""

_DAY_S = 86_400
_SLICE_EVENTS_MAX = 200_000
_SLICES = (1, 2, 6, 12, 36, 60, 120, 360)
"""Into how many parts an hour may be cut: each has whole 10 s windows."""
_UNDER_WAY_S = 600
"""A replay that was heard of this recently is not over."""


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked at: windows that lie in [since, until)."""

    since_s: int
    until_s: int
    now_us: int
    ahead_s: int
    behind_s: int
    """How far a live event's time may be from the broker's: as the workers have it."""
    groupings: Groupings
    """By what windows are grouped where there are none to tell."""

    @property
    def clock(self) -> dict[str, int]:
        return {"ahead_s": self.ahead_s, "behind_s": self.behind_s}


@dataclass(slots=True)
class WindowsFound:
    """What became of the windows of a span."""

    compared: int = 0
    events: int = 0
    still_open: int = 0
    bounded: int = 0
    """Windows of groupings that had more series than there is room for: nothing to compare with."""
    in_two_topics: int = 0
    """Windows whose topic was made anew while they were open."""
    without_events: int = 0
    """Hours whose events may have gone by age."""
    mismatches: list[Mismatch] = field(default_factory=list)
    more: int = 0
    """Windows that differ, beyond those in ``mismatches``."""

    def note(self, mismatch: Mismatch | None) -> None:
        self.compared += 1
        if mismatch is None:
            return
        if len(self.mismatches) < MISMATCHES_MAX:
            self.mismatches.append(mismatch)
        else:
            self.more += 1


def check_windows(
    client: Client, span: Span, progress: Callable[[int], None] = lambda _: None
) -> WindowsFound:
    """Compares every closed window of the span. ``progress`` hears how many events were counted."""
    found = WindowsFound()
    hours = stored.hours(client, span.since_s, span.until_s, span.clock)
    for origin, of_origin in groupby(hours, key=lambda hour: hour.origin):
        _OriginCheck(client, span, origin, found, progress).run(list(of_origin))
    return found


class _OriginCheck:
    """The windows of live traffic, or of one replay."""

    def __init__(
        self,
        client: Client,
        span: Span,
        origin: str,
        found: WindowsFound,
        progress: Callable[[int], None],
    ) -> None:
        self._client = client
        self._span = span
        self._origin = origin
        self._found = found
        self._progress = progress
        now_s = span.now_us // 1_000_000
        self._oldest_s, self._newest_s = stored.heard_s(client, origin)
        self._events_since_s = stored.kept_since_s(client, "events", now_s)
        self._windows_since_s = stored.kept_since_s(client, "metric_windows", now_s)
        self._erased = stored.erased_series(client)
        self._under_way = origin != LIVE and now_s - self._newest_s < _UNDER_WAY_S

    def run(self, hours: Sequence[Hour]) -> None:
        whole = [hour for hour in hours if self._has_events(hour)]
        self._found.without_events += len(hours) - len(whole)
        named = {hour.start_s: stored.groupings(self._client, hour) for hour in whole}
        names = {name for known in named.values() for name in known}
        groupings = Groupings.parse(sorted(names)) if names else self._span.groupings
        recount = Recount(groupings)
        for day, of_day in groupby(whole, key=lambda hour: hour.start_s // _DAY_S):
            names_of_day: set[str] = set()
            for hour in of_day:
                names_of_day |= named[hour.start_s]
                self._check_hour(recount, hour, named[hour.start_s])
            start = day * _DAY_S
            for width_s in WIDTHS_S:
                if width_s > HOUR_S:
                    self._check(recount, width_s, start, start + _DAY_S, names_of_day)

    def _has_events(self, hour: Hour) -> bool:
        if self._origin == LIVE:
            return hour.start_s - self._span.ahead_s >= self._events_since_s
        return self._oldest_s - HOUR_S >= self._events_since_s

    def _check_hour(self, recount: Recount, hour: Hour, names: set[str]) -> None:
        slices = next((n for n in _SLICES if hour.events / n <= _SLICE_EVENTS_MAX), _SLICES[-1])
        step_s = HOUR_S // slices
        for start in range(hour.start_s, hour.start_s + HOUR_S, step_s):
            for observed in stored.observations(
                self._client, self._origin, start, start + step_s, self._span.clock
            ):
                recount.take(observed)
                self._found.events += len(observed)
                self._progress(self._found.events)
            for erased in stored.erased(self._client, self._origin, start, start + step_s):
                recount.take_erased(*erased)
            recount.fold()
            self._check(recount, WIDTHS_S[0], start, start + step_s, names)
        for width_s in WIDTHS_S[1:]:
            if width_s <= HOUR_S:
                self._check(recount, width_s, hour.start_s, hour.start_s + HOUR_S, names)

    def _check(self, recount: Recount, width_s: int, start: int, end: int, names: set[str]) -> None:
        counted = recount.pop(width_s, end)
        windows = list(stored.windows(self._client, self._origin, width_s, start, end))
        bounded = {
            (each.window_start, each.grouping) for each in windows if OTHER in each.dims.values()
        }
        for window in windows:
            key = (window.grouping, tuple(window.dims[name] for name in _dimensions(window)))
            said = counted.pop((window.window_start, key), None)
            if not self._is_in_span(window.window_start, width_s):
                continue
            if not window.final:
                self._found.still_open += 1
            elif (window.window_start, window.grouping) in bounded:
                self._found.bounded += 1
            elif window.epochs > 1:
                self._found.in_two_topics += 1
            else:
                identity = self._identity(width_s, window.window_start, key)
                mismatch = compare(identity, window, said, self._span.now_us)
                if mismatch and recount.is_unsure(width_s, window.window_start, window.grouping):
                    mismatch = None if mismatch.kind is Kind.EXCESS else mismatch
                self._found.note(mismatch)
        self._note_missing(width_s, self._unmatched(counted, bounded, names))

    def _unmatched(
        self,
        counted: dict[tuple[int, SeriesKey], Counted],
        bounded: set[tuple[int, str]],
        names: set[str],
    ) -> Iterable[tuple[int, SeriesKey, Counted]]:
        """Yields what there are events of and no window. A grouping that an hour knows nothing of
        was not configured then, unless the hour has no window at all."""
        for (start, key), said in counted.items():
            if (start, key[0]) not in bounded and (not names or key[0] in names):
                yield start, key, said

    def _note_missing(
        self, width_s: int, unmatched: Iterable[tuple[int, SeriesKey, Counted]]
    ) -> None:
        if self._under_way:
            return
        for start, key, said in unmatched:
            told_s = start if self._origin == LIVE else self._oldest_s
            if self._is_erased(start, key):
                continue
            if told_s >= self._windows_since_s and self._is_in_span(start, width_s):
                identity = self._identity(width_s, start, key)
                self._found.note(compare(identity, None, said, self._span.now_us))

    def _is_erased(self, start: int, key: SeriesKey) -> bool:
        """Says whether a series was erased: then there is no window of it, and is to be none."""
        grouping, dims = key
        until_us = (
            self._erased.get(each, -1) for each in zip(grouping.split(","), dims, strict=False)
        )
        return any(start * 1_000_000 <= each for each in until_us)

    def _is_in_span(self, start: int, width_s: int) -> bool:
        return self._span.since_s <= start and start + width_s <= self._span.until_s

    def _identity(self, width_s: int, start: int, key: SeriesKey) -> Identity:
        return Identity(self._origin, *key, width_s, start)


def _dimensions(window: StoredWindow) -> Iterator[str]:
    return iter(window.grouping.split(",") if window.grouping else ())
