"""Alerts as workers publish them, and what the notifier makes of them."""

from typing import Any

from backchannel.events import Alert
from backchannel_sinks.notifier.message import Message, Origin

NOON_US = 1_700_000_000_000_000


def an_alert(rule: str = "latency-p95", tenant: str = "acme", **fields: Any) -> Alert:
    """Returns a firing alert, the first change of it; ``fields`` say what is otherwise."""
    at_us = fields.pop("at_us", NOON_US)
    known: dict[str, Any] = {
        "alert_id": f"{rule}/{tenant}",
        "transition": 1,
        "rule": rule,
        "rules_hash": "abc",
        "state": "firing",
        "severity": "error",
        "origin": "live",
        "grouping": "tenant",
        "dims": {"tenant": tenant},
        "annotations": {"summary": f"{rule} of {tenant} is too high"},
        "metric": "latency_ms",
        "op": ">",
        "threshold": 5000.0,
        "value": 6400.0,
        "sample_count": 312,
        "window_s": 60,
        "window_end_us": at_us,
        "starts_at_us": at_us,
        "trigger_event_at_us": at_us,
        "evaluated_at_us": at_us,
    }
    return Alert(**known | fields)


def resolved(alert: Alert, **fields: Any) -> Alert:
    """Returns the end of an alert: its next change."""
    over = {
        "state": "resolved",
        "reason": "clear",
        "transition": alert.transition + 1,
        "ends_at_us": alert.evaluated_at_us + 1_000_000,
        "evaluated_at_us": alert.evaluated_at_us + 1_000_000,
    }
    return alert.model_copy(update=over | fields)


def fires_again(alert: Alert) -> Alert:
    """Returns the next firing of an alert that is over."""
    again = {"state": "firing", "reason": "", "ends_at_us": None}
    return alert.model_copy(update={**again, "transition": alert.transition + 1})


def a_message(*alerts: Alert, **fields: Any) -> Message:
    """Returns a message about alerts, all of them news; ``fields`` say what is otherwise."""
    told = alerts or (an_alert(),)
    known: dict[str, Any] = {
        "thread": "thread-1",
        "target": "hook",
        "group": {"rule": told[0].rule},
        "step": 0,
        "alerts": told,
        "news": {alert.alert_id: alert.transition for alert in told},
        "left_out": 0,
        "first_at_us": NOON_US,
        "origin": Origin(partition=0, offset=7),
    }
    return Message(**known | fields)
