"""What ``top`` knows: fed by topics and by the status, read by the view. One owner, no locks."""

from collections import deque
from dataclasses import dataclass

from backchannel.events import LIVE, Alert, Window
from backchannel_deploy.recent import WINDOW_S, Recent, recent
from backchannel_deploy.status.state import Status

__all__ = ["Board", "SeriesRow"]

_TREND_MAX = 30
"""Windows of a series that are kept: five minutes."""
_SERIES_MAX = 2_000
"""Series that are known at once; beyond, the one that is silent for longest is forgotten."""
_STALE_S = 60
"""A series without a window for so long is not shown."""
_RESOLVED_MAX = 20
_MINUTE_S = 60


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series as of now: its last ten to twenty seconds."""

    name: str
    now: Recent
    trend: tuple[int, ...]
    """Turns in each of its windows, the oldest first, 0 for those that it has none of."""


class Board:
    """Everything that is shown, as of the last thing that was told to it."""

    def __init__(self, by: str) -> None:
        self.by = by
        """The grouping whose series are listed."""
        self.status: Status | None = None
        self.trouble = ""
        """Why the status can't be asked for, if it can't."""
        self.users = 0
        """Of the newest minute, estimated."""
        self._users_at = 0
        self._total: dict[int, Window] = {}
        self._series: dict[str, dict[int, Window]] = {}
        self._firing: dict[str, Alert] = {}
        self._resolved: deque[Alert] = deque(maxlen=_RESOLVED_MAX)

    def take_window(self, window: Window) -> None:
        """Notes a live window; an older revision changes nothing."""
        if window.origin != LIVE:
            return
        if window.grouping == "" and window.window_s == _MINUTE_S:
            if window.window_start >= self._users_at:
                self._users_at, self.users = window.window_start, window.active_users
            return
        if window.window_s != WINDOW_S:
            return
        if window.grouping == "":
            _note(self._total, window)
        if window.grouping == self.by:
            # The newest last: what is silent for longest comes first.
            name = " ".join(window.dims.values())
            windows = self._series.pop(name, {})
            self._series[name] = windows
            _note(windows, window)
            if len(self._series) > _SERIES_MAX:
                del self._series[next(iter(self._series))]

    def take_alert(self, alert: Alert) -> None:
        """Notes a transition, in the order of the topic; those of replays are not of interest."""
        if alert.origin != LIVE:
            return
        if alert.state == "firing":
            self._firing[alert.alert_id] = alert
        elif self._firing.pop(alert.alert_id, None) is not None:
            self._resolved.append(alert)

    def alerts(self) -> list[Alert]:
        """Returns what fires, the newest first, and then what was resolved last."""
        firing = sorted(self._firing.values(), key=lambda each: -each.evaluated_at_us)
        return [*firing, *reversed(self._resolved)]

    @property
    def firing(self) -> int:
        """How many alerts fire."""
        return len(self._firing)

    def total(self, now_us: int) -> SeriesRow | None:
        """Returns everything together; nothing when there is no traffic."""
        return _row("", self._total, now_us)

    def series(self, now_us: int) -> list[SeriesRow]:
        """Returns every series of the grouping that has traffic, the busiest first."""
        rows = [_row(name, windows, now_us) for name, windows in self._series.items()]
        busy = [row for row in rows if row is not None]
        return sorted(busy, key=lambda row: (-row.now.turns_a_s, row.name))


def _note(windows: dict[int, Window], window: Window) -> None:
    known = windows.get(window.window_start)
    if known is None or known.revision < window.revision:
        windows[window.window_start] = window
    while len(windows) > _TREND_MAX:
        del windows[min(windows)]


def _row(name: str, windows: dict[int, Window], now_us: int) -> SeriesRow | None:
    if not windows or max(windows) < now_us // 1_000_000 - _STALE_S:
        return None
    newest = max(windows)
    last = [windows[start] for start in (newest - WINDOW_S, newest) if start in windows]
    starts = range(max(min(windows), newest - _TREND_MAX * WINDOW_S), newest + 1, WINDOW_S)
    trend = tuple(windows[start].count if start in windows else 0 for start in starts)
    return SeriesRow(name, recent(last, now_us), trend)
