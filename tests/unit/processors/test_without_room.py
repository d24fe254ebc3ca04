"""What there is no room for is counted, where whoever operates a worker sees it."""

import pytest

from backchannel_processors import long_windows, silence_watch
from backchannel_processors.counters import MergeCounters
from backchannel_processors.frames import HOUR
from backchannel_processors.history import History, Needs
from backchannel_processors.long_windows import LongWindows
from backchannel_processors.measures import Measures
from backchannel_processors.silence_watch import SilenceWatch

SERIES = [("tenant", (name,)) for name in ("a", "b", "b")]


def test_windows_of_series_that_have_no_past() -> None:
    counters = MergeCounters()
    needs = {"tenant": Needs(frozenset({"count"}), frozenset({HOUR}))}
    history = History(needs, counters, series_max=1)
    for grouping, dims in SERIES:
        history.fold(0, grouping, dims, Measures())
    assert counters.history_without_room == 2


def test_parts_of_long_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_windows, "LONG_STATES_MAX", 1)
    counters = MergeCounters()
    windows = LongWindows("live", counters)
    for key in SERIES:
        windows.fold(0, key, Measures(), 1, incomplete=False)
    assert counters.long_windows_without_room == 2


def test_series_whose_silence_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence_watch, "SEEN_MAX", 1)
    counters = MergeCounters()
    watch = SilenceWatch(counters)
    for series in SERIES:
        watch.saw(series)
    assert counters.silence_without_room == 2
