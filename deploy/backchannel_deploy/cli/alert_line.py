"""An alert as a line that a person reads."""

from datetime import UTC, datetime

from rich.text import Text

from backchannel.events import Alert
from backchannel_deploy.cli.amounts import amount, seconds_of

__all__ = ["alert_line"]

_STATE = {"firing": ("FIRING  ", "bold red"), "resolved": ("resolved", "green")}


def alert_line(alert: Alert, delay_us: int | None = None) -> Text:
    """Returns e.g. ``12:03:21 FIRING   tenant-p95 tenant=acme  6.4 s > 5.0 s  +230 ms  n=312``.

    Local time of the decision; the rule and the series; what was measured and the threshold; how
    long after the event the decision came (or ``delay_us``); how many samples it rests on.
    """
    if delay_us is None:
        delay_us = alert.evaluated_at_us - alert.trigger_event_at_us
    at = datetime.fromtimestamp(alert.evaluated_at_us / 1_000_000, UTC).astimezone()
    state, style = _STATE[alert.state]
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{at:%H:%M:%S} ", style="dim")
    line.append(state, style=style)
    line.append(f" {alert.rule}", style="bold")
    series = " ".join(f"{name}={value}" for name, value in sorted(alert.dims.items()))
    if series:
        line.append(f" {series}", style="cyan")
    line.append(f"  {_measured(alert, delay_us)}")
    return line


def _measured(alert: Alert, delay_us: int) -> str:
    if alert.reason == "rule_gone":
        return "its rule is gone"
    if alert.value is None:
        return "traffic has stopped"
    measured = amount(alert.value, alert.metric)
    limit = amount(alert.threshold, alert.metric)
    if alert.state == "resolved":
        return f"{measured}, limit {limit}"
    return f"{measured} {alert.op} {limit}  +{seconds_of(delay_us)}  n={alert.sample_count:,}"
