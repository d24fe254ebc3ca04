"""Counters that only rise, made of windows that replace each other.

A window is told again and again as it grows; what it has more than the last time is added to its
series. So the counters rise with every event once, also when a window is told twice, and Prometheus
makes rates and percentiles of them over any span.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from backchannel.events import LIVE, Window
from backchannel.probes.histogram import NativeHistogramFamily
from backchannel_sinks.prometheus.measures import FAMILIES, SUM, Cell, Family, cells

__all__ = ["BASE_S", "WindowCounters"]

BASE_S = 10
"""Width of the windows that are taken; longer ones hold the same events."""

_WINDOWS_MAX = 36
"""Windows of a series that are remembered, to tell what is new in them: six minutes. One can stay
open for five, when a partition has no worker."""
_SILENT_US = 3_600_000_000
"""A series that nothing comes of for so long is told no longer."""
_US = 1_000_000


@dataclass(slots=True)
class _Series:
    grouping: str
    dims: dict[str, str]
    created_us: int
    heard_us: int
    total: Counter[Cell] = field(default_factory=Counter)
    windows: dict[int, tuple[int, dict[Cell, int]]] = field(default_factory=dict)
    """Revision and numbers, by start."""
    forgotten_to: int = -1
    """Start of the newest window that is not remembered any more."""


class WindowCounters:
    """Everything that is exported. One owner, no locks."""

    def __init__(self, groupings: Collection[str], *, series_max: int) -> None:
        self._groupings = tuple(groupings)
        self._series_max = series_max
        self._labels = tuple(
            dict.fromkeys(name for each in groupings for name in each.split(",") if name)
        )
        self._series: dict[tuple[str, tuple[str, ...]], _Series] = {}
        self._taken: Counter[str] = Counter(dict.fromkeys(("counted", "repeated"), 0))
        self._ignored: Counter[str] = Counter(dict.fromkeys(("series_max", "forgotten"), 0))

    def wants(self, window: Window) -> bool:
        """Says whether a window is of what is exported."""
        return (
            window.origin == LIVE
            and window.window_s == BASE_S
            and window.grouping in self._groupings
        )

    def take(self, window: Window, now_us: int, *, counts: bool = True) -> None:
        """Takes in a window that is wanted. When it does not count, it was told before this
        process began: only what it has more later is added."""
        key = (window.grouping, tuple(window.dims.values()))
        series = self._series.get(key)
        if series is None:
            # The whole has no dimensions, so it is one series and always has room.
            if window.grouping and len(self._series) >= self._series_max:
                self._let_go(now_us)
                if len(self._series) >= self._series_max:
                    self._ignored["series_max"] += 1
                    return
            series = _Series(window.grouping, dict(window.dims), now_us, now_us)
            self._series[key] = series
        series.heard_us = now_us
        if window.window_start <= series.forgotten_to:
            self._ignored["forgotten"] += 1
            return
        revision, known = series.windows.get(window.window_start, (-1, {}))
        if window.revision <= revision:
            self._taken["repeated"] += 1
            return
        self._taken["counted"] += 1
        found = cells(window)
        series.windows[window.window_start] = (window.revision, found)
        if counts:
            for cell, number in found.items():
                series.total[cell] += number - known.get(cell, 0)
        while len(series.windows) > _WINDOWS_MAX:
            oldest = min(series.windows)
            series.forgotten_to = oldest
            del series.windows[oldest]

    def collect(self) -> Iterator[Metric]:
        """Yields everything, for Prometheus."""
        by_family: dict[str, list[tuple[_Series, dict[str, dict[int, int]]]]] = {}
        for series in self._series.values():
            for name, labels in _by_family(series.total).items():
                by_family.setdefault(name, []).append((series, labels))
        for family in FAMILIES:
            yield self._metric(family, by_family.get(family.name, []))
        yield GaugeMetricFamily(
            "backchannel_exporter_series", "Series that are told", value=len(self._series)
        )
        for name, what, numbers in (
            ("windows", "Windows that came, by what they were", self._taken),
            ("windows_ignored", "Windows that are in no counter, by reason", self._ignored),
        ):
            counter = CounterMetricFamily(f"backchannel_exporter_{name}", what, labels=["what"])
            for key, number in numbers.items():
                counter.add_metric([key], number)
            yield counter

    def _metric(
        self, family: Family, series: list[tuple[_Series, dict[str, dict[int, int]]]]
    ) -> Metric:
        names = ["grouping", *self._labels, *([family.label] if family.label else [])]
        histogram = NativeHistogramFamily(family.name, family.what, names)
        counter = CounterMetricFamily(family.name, family.what, labels=names)
        for each, numbers in series:
            own = [each.grouping, *(each.dims.get(name, "") for name in self._labels)]
            created = each.created_us / _US
            for label, found in numbers.items():
                labels = [*own, *([label] if family.label else [])]
                if family.is_histogram:
                    buckets = {bucket: n for bucket, n in found.items() if bucket != SUM}
                    histogram.add(labels, buckets, found.get(SUM, 0), created)
                else:
                    value = found[0] / family.divisor
                    counter.add_metric(labels, value, created=created)
        return histogram if family.is_histogram else counter

    def _let_go(self, now_us: int) -> None:
        silent = [key for key, each in self._series.items() if now_us - each.heard_us >= _SILENT_US]
        for key in silent:
            del self._series[key]


def _by_family(total: Counter[Cell]) -> dict[str, dict[str, dict[int, int]]]:
    """Returns numbers by family, label and bucket."""
    found: dict[str, dict[str, dict[int, int]]] = {}
    for (family, label, bucket), number in total.items():
        found.setdefault(family, {}).setdefault(label, {})[bucket] = number
    return found
