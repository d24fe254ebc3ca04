"""What the live view knows: fed by topics and counts, read as rows."""

from collections import deque
from dataclasses import dataclass

from backchannel.events import Alert, Window
from backchannel_deploy.recent import WINDOW_S, Recent, recent

__all__ = ["Board", "Counts", "Heard", "TenantRow"]

_US = 1_000_000
_ALERTS_KEPT = 100
_RATES_KEPT = 60


@dataclass(frozen=True, slots=True)
class Counts:
    """How far the fleet's events have come."""

    sent: int = 0
    acknowledged: int = 0
    counted: int = 0
    """In windows."""
    stored: int = 0
    """Rows in ClickHouse."""

    @property
    def settled(self) -> bool:
        """Says whether everything that was sent has come everywhere."""
        return self.sent == self.acknowledged == self.counted == self.stored


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant as of now: its last ten to twenty seconds."""

    tenant: str
    now: Recent
    p95_trend_us: tuple[int, ...]
    """p95 of each window so far, the oldest first."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An alert, and how long after the event that caused it a subscriber had it."""

    alert: Alert
    delay_us: int


class Board:
    """Everything that is shown, as of the last thing that was told to it. One owner, no locks."""

    def __init__(self, started_at_us: int) -> None:
        self.started_at_us = started_at_us
        self.counts = Counts()
        self.heard: deque[Heard] = deque(maxlen=_ALERTS_KEPT)
        self.rates: deque[int] = deque([0] * _RATES_KEPT, maxlen=_RATES_KEPT)
        """Events sent in each of the last seconds."""
        self._totals: dict[int, Window] = {}
        self._tenants: dict[str, dict[int, Window]] = {}
        self._first_window = started_at_us // _US // WINDOW_S * WINDOW_S

    def take_window(self, window: Window) -> None:
        """Notes a live window of the demo's time; an older revision changes nothing."""
        ours = window.origin == "live" and window.window_start >= self._first_window
        if not ours or window.window_s != WINDOW_S:
            return
        if window.grouping == "":
            series = self._totals
        elif window.grouping == "tenant":
            series = self._tenants.setdefault(window.dims["tenant"], {})
        else:
            return
        known = series.get(window.window_start)
        if known is None or known.revision < window.revision:
            series[window.window_start] = window

    def take_alert(self, heard: Heard) -> bool:
        """Notes a transition of this demo; returns whether it was new."""
        alert = heard.alert
        last = max(
            (known.transition for known in self.alerts if known.alert_id == alert.alert_id),
            default=0,
        )
        if alert.transition <= last or alert.evaluated_at_us < self.started_at_us:
            return False
        self.heard.append(heard)
        return True

    @property
    def alerts(self) -> list[Alert]:
        return [heard.alert for heard in self.heard]

    def firing(self) -> list[Alert]:
        """Returns the alerts whose last transition is that they fire."""
        last = {alert.alert_id: alert for alert in self.alerts}
        return [alert for alert in last.values() if alert.state == "firing"]

    @property
    def counted(self) -> int:
        """Events in windows."""
        return sum(window.count for window in self._totals.values())

    def tenants(self, now_us: int) -> list[TenantRow]:
        """Returns a row for each tenant, by name."""
        rows = []
        for tenant, windows in sorted(self._tenants.items()):
            newest = max(windows)
            last = [windows[start] for start in (newest - WINDOW_S, newest) if start in windows]
            trend = tuple(windows[start].latency_p95_us for start in sorted(windows))
            rows.append(TenantRow(tenant, recent(last, now_us), trend))
        return rows
