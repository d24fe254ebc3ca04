"""What a bot knows of alerts and budgets, from its own memory: asking costs no network.

chat.alerts, chat.control ──▶ AlertFeed (a thread) ──▶ AlertCache ◀── the bot asks
"""

import threading
from typing import TypeVar

from pydantic import ValidationError

from backchannel.clock import Clock
from backchannel.events import Alert, BudgetState, read_budget
from backchannel.events.topics import ALERTS, CONTROL

__all__ = ["ENTRIES_MAX", "AlertCache"]

ENTRIES_MAX = 100_000
"""Alerts that fire, and budgets, held at most; further ones are not known, and counted."""


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class AlertCache:
    """Alerts that fire now, and how much of each budget is spent, as far as this process has heard.

    Asking blocks nothing and raises nothing; what is not known is not there. Safe in any thread.
    """

    def __init__(self, clock: Clock) -> None:
        self.current = False
        """Everything that stood there at the start has been read."""
        self.without_room: int = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}
        self._firing: dict[str, Alert] = {}
        self._budgets: dict[bytes, BudgetState] = {}

    def firing(self, rule: str = "", **dims: str) -> tuple[Alert, ...]:
        """Returns the alerts that fire: of a rule, and of the series with these values, where they
        are given, e.g. ``tenant="acme"``."""
        with self._lock:
            known = list(self._firing.values())
        return tuple(
            alert
            for alert in known
            if rule in ("", alert.rule) and dims.items() <= alert.dims.items()
        )

    def budget(self, rule: str = "", **dims: str) -> BudgetState | None:
        """Returns the budget of exactly these values that has the smallest share left; ``None``
        when none is known, or its period is over."""
        now_us = self._clock.now_us()
        with self._lock:
            known = list(self._budgets.values())
        fitting = [
            each
            for each in known
            if rule in ("", each.rule) and each.dims == dims and not each.is_over(now_us)
        ]
        return max(fitting, key=lambda each: each.share, default=None)

    def take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Takes in a record of ``chat.alerts`` or ``chat.control``."""
        if topic == ALERTS.name:
            if value is None:
                self._forget_alert(key)
            else:
                self._take_alert(value)
        elif topic == CONTROL.name and key is not None:
            budget = read_budget(key, value)
            with self._lock:
                if budget is not None:
                    self._put(self._budgets, key, budget)
                elif value is None:  # somebody was erased
                    self._budgets.pop(key, None)

    def _forget_alert(self, key: bytes | None) -> None:
        """Somebody was erased: what comes under the same id is counted from the beginning."""
        alert_id = (key or b"").decode("utf-8", "replace")
        with self._lock:
            self._last.pop(alert_id, None)
            self._firing.pop(alert_id, None)

    def _take_alert(self, value: bytes) -> None:
        try:
            alert = Alert.model_validate_json(value)
        except ValidationError:
            return
        with self._lock:
            if alert.transition <= self._last.get(alert.alert_id, 0):
                return
            self._put(self._last, alert.alert_id, alert.transition)
            if alert.state == "firing":
                self._put(self._firing, alert.alert_id, alert)
            else:
                self._firing.pop(alert.alert_id, None)

    def _put(self, into: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        if key in into or len(into) < ENTRIES_MAX:
            into[key] = value
        else:
            self.without_room += 1
