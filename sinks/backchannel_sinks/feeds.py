"""What is read from where and goes into which table."""

from dataclasses import dataclass

from backchannel.events.topics import ALERTS, CONTENT, DEAD, EVENTS, METRICS
from backchannel_sinks.rows import (
    BuildRows,
    alert_rows,
    content_rows,
    dead_letter_rows,
    event_rows,
    window_rows,
)

__all__ = ["FEEDS", "Feed"]


@dataclass(frozen=True, slots=True)
class Feed:
    """One topic on its way into one table."""

    topic: str
    table: str
    build: BuildRows
    numbered: bool = False
    """Records carry producer numbers: repeats are skipped, and offsets that are stored already
    are never stored again. Rows of the other tables replace each other, so a repeat is nothing."""


FEEDS = {
    feed.topic: feed
    for feed in (
        Feed(EVENTS.name, "events", event_rows, numbered=True),
        Feed(METRICS.name, "metric_windows", window_rows),
        Feed(ALERTS.name, "alerts", alert_rows),
        Feed(DEAD.name, "dead_letters", dead_letter_rows),
        Feed(CONTENT.name, "content", content_rows),
    )
}
"""Every topic that the sink stores."""
