"""What a target is told: frozen when it is composed, so that every attempt says the same. Pure.

It is made of alerts alone, and an alert holds no prompt, no reply and no free text of a user.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from backchannel.events import Alert

__all__ = ["ALERTS_MAX", "Message", "Origin", "alertmanager_body", "standard_body"]

ALERTS_MAX = 50
"""Alerts that one message names; more news come with the next one."""

_TEXT_ALERTS_MAX = 10
_SEVERITIES = ("info", "warning", "error", "critical")
_NEVER = "0001-01-01T00:00:00Z"

Status = Literal["firing", "resolved"]


class Origin(BaseModel):
    """A record of ``chat.alerts``."""

    model_config = ConfigDict(frozen=True)

    partition: int
    offset: int
    """-1 for an alert that was raised here and is not on the topic yet."""


class Message(BaseModel):
    """One message to one target about the alerts of one group."""

    model_config = ConfigDict(frozen=True)

    thread: str
    """The conversation that it belongs to: an incident, for targets that know such."""
    target: str
    group: dict[str, str]
    step: int
    alerts: tuple[Alert, ...]
    """The news first, the worst before; then what fires still."""
    news: dict[str, int]
    """What this message tells: id and transition of the alerts that changed."""
    left_out: int
    """Alerts of the group that fire too and are not listed."""
    first_at_us: int
    """When it was composed: it is given up a day later."""
    origin: Origin

    @property
    def id(self) -> str:
        """The same for the same news, also when it is composed anew after a crash: receivers
        tell a repetition by it."""
        told = json.dumps([self.thread, sorted(self.news.items())]).encode()
        return f"msg_{hashlib.sha256(told).hexdigest()[:32]}"

    @property
    def status(self) -> Status:
        """``firing`` while one of the group does."""
        firing = self.left_out or any(alert.state == "firing" for alert in self.alerts)
        return "firing" if firing else "resolved"

    @property
    def severity(self) -> str:
        """The worst of what fires, else of all."""
        firing = [alert.severity for alert in self.alerts if alert.state == "firing"]
        return max(firing or [each.severity for each in self.alerts], key=_SEVERITIES.index)

    @property
    def at_us(self) -> int:
        """When the newest of its news was decided."""
        return max(each.evaluated_at_us for each in self.alerts if each.alert_id in self.news)

    @property
    def title(self) -> str:
        """One line."""
        firing = self.left_out + sum(alert.state == "firing" for alert in self.alerts)
        state = f"FIRING {firing}" if firing > 1 else self.status.upper()
        if len(self.alerts) == 1 and not self.left_out:
            about = _name(self.alerts[0])
        else:
            values = [f"{name}={value}" for name, value in self.group.items() if name != "rule"]
            about = " ".join([self.group.get("rule", ""), *values]).strip() or "alerts"
        escalated = ", not acknowledged" if self.step and self.status == "firing" else ""
        return f"[{state}] {about}{escalated}"

    @property
    def text(self) -> str:
        """A paragraph for each alert, and how many more there are."""
        parts = [_paragraph(alert) for alert in self.alerts[:_TEXT_ALERTS_MAX]]
        more = len(self.alerts) + self.left_out - _TEXT_ALERTS_MAX
        return "\n\n".join([*parts, *([f"and {more} more"] if more > 0 else [])])


def standard_body(message: Message) -> bytes:
    """Returns the body as of Standard Webhooks: type, timestamp, data."""
    data = {
        "id": message.id,
        "thread": message.thread,
        "status": message.status,
        "severity": message.severity,
        "title": message.title,
        "group": message.group,
        "escalation": message.step,
        "alerts": [_alert(alert) for alert in message.alerts],
        "alerts_left_out": message.left_out,
    }
    return _json(
        {"type": f"alert.{message.status}", "timestamp": _instant(message.at_us), "data": data}
    )


def alertmanager_body(message: Message) -> bytes:
    """Returns the body that Prometheus' Alertmanager sends to a webhook, version 4."""
    alerts = [_as_of_alertmanager(alert) for alert in message.alerts]
    body = {
        "version": "4",
        "groupKey": message.thread,
        "truncatedAlerts": message.left_out,
        "status": message.status,
        "receiver": message.target,
        "groupLabels": {_label(name): value for name, value in message.group.items()},
        "commonLabels": _common([each["labels"] for each in alerts]),
        "commonAnnotations": _common([each["annotations"] for each in alerts]),
        "externalURL": "",
        "alerts": alerts,
    }
    return _json(body)


def _as_of_alertmanager(alert: Alert) -> dict[str, Any]:
    ended = _instant(alert.ends_at_us) if alert.ends_at_us is not None else _NEVER
    runbook = alert.annotations.get("runbook", "")
    return {
        "status": alert.state,
        "labels": alert.dims
        | alert.labels
        | {"alertname": alert.rule, "severity": alert.severity, "origin": alert.origin},
        "annotations": alert.annotations,
        "startsAt": _instant(alert.starts_at_us),
        "endsAt": ended,
        # Others make a link of it; a shipped rule names a command.
        "generatorURL": runbook if runbook.startswith("http") else "",
        "fingerprint": alert.alert_id[:16],
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return alert.model_dump(mode="json")


def _common(tables: list[dict[str, str]]) -> dict[str, str]:
    """Returns what all of them have with the same value."""
    shared = set.intersection(*(set(each.items()) for each in tables))
    return dict(shared)


def _label(name: str) -> str:
    return "alertname" if name == "rule" else name


def _name(alert: Alert) -> str:
    return " ".join([alert.rule, *(f"{name}={value}" for name, value in alert.dims.items())])


def _paragraph(alert: Alert) -> str:
    state = "no data" if alert.reason == "no_data" else alert.state
    lines = [f"{state.upper()} {_name(alert)} ({alert.severity})"]
    lines += [alert.annotations[key] for key in ("summary", "runbook") if key in alert.annotations]
    ended = f", ended {_instant(alert.ends_at_us)}" if alert.ends_at_us is not None else ""
    lines.append(f"since {_instant(alert.starts_at_us)}{ended}, alert {alert.alert_id[:8]}")
    return "\n".join(lines)


def _instant(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
