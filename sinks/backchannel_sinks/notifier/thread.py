"""A conversation with one target about one group of alerts: what it knows, what is new. Pure.

Each is one record of ``chat.notifier``, so a notifier that was killed goes on where it was.
"""

import hashlib
import json

from pydantic import BaseModel, ConfigDict

from backchannel.events import Alert
from backchannel_sinks.notifier.message import Message, Origin
from backchannel_sinks.notifier.plan import Line

__all__ = ["BYTES_MAX", "ENTRIES_MAX", "Attempt", "Entry", "Thread"]

ENTRIES_MAX = 500
"""Alerts in one thread; those beyond are counted and left out until others are over."""

BYTES_MAX = 2 * 1024 * 1024
"""Bytes of the alerts in one thread, which is one record; a message that is under way may hold as
many again."""


class _State(BaseModel):
    # Unknown fields are left out: an older version may read what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Entry(_State):
    """An alert of the group, as it is now."""

    alert: Alert
    origin: Origin
    size: int
    """Bytes of its record."""
    due_us: int
    """Not told before."""
    told: int = 0
    """The last transition that the target was told."""
    hushed: bool = False
    """It was held back by a silence or another alert."""

    @property
    def is_news(self) -> bool:
        """The target does not know how it is."""
        return self.alert.transition > self.told

    @property
    def is_over(self) -> bool:
        """There is nothing more to tell of it."""
        return self.alert.state == "resolved" and not self.is_news


class Attempt(_State):
    """A message that is under way."""

    message: Message
    failures: int = 0
    next_at_us: int


class Thread(_State):
    """A conversation. Changed by making a new one."""

    key: str
    target: str
    step: int
    group: dict[str, str]
    wait_s: int
    interval_s: int
    entries: dict[str, Entry] = {}
    told_at_us: int = 0
    """When the target last took a message; 0 for never."""
    attempt: Attempt | None = None

    @classmethod
    def of(cls, line: Line) -> "Thread":
        """Returns the empty thread that a line leads to."""
        named = [line.target, line.step, sorted(line.group.items())]
        key = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]
        return cls(
            key=key,
            target=line.target,
            step=line.step,
            group=line.group,
            wait_s=line.wait_s,
            interval_s=line.interval_s,
        )

    @property
    def due_us(self) -> int | None:
        """When there is something to do for it; ``None`` when only something new changes that.
        A thread that is empty is due when it can be forgotten."""
        if self.attempt is not None:
            return self.attempt.next_at_us
        news = [entry.due_us for entry in self.entries.values() if entry.is_news]
        if not news and self.entries:
            return None
        earliest_us = self.told_at_us + self.interval_s * 1_000_000 if self.told_at_us else 0
        return max(min(news, default=0), earliest_us)

    @property
    def is_full(self) -> bool:
        """No further alert goes in."""
        size = sum(each.size for each in self.entries.values())
        return len(self.entries) >= ENTRIES_MAX or size >= BYTES_MAX

    @property
    def is_done(self) -> bool:
        """There is nothing in it."""
        return not self.entries and self.attempt is None

    def with_entry(self, entry: Entry) -> "Thread":
        """Returns it with an alert put in, or in the place of what it was before."""
        return self.model_copy(
            update={"entries": {**self.entries, entry.alert.alert_id: entry}},
        )

    def without(self, alert_id: str) -> "Thread":
        """Returns it without an alert."""
        left = {key: each for key, each in self.entries.items() if key != alert_id}
        return self.model_copy(update={"entries": left})

    def after(self, message: Message, now_us: int) -> "Thread":
        """Returns it when the message is done with: taken, or given up."""
        entries = {}
        for alert_id, entry in self.entries.items():
            told = max(entry.told, message.news.get(alert_id, 0))
            known = entry.model_copy(update={"told": told})
            if not known.is_over:
                entries[alert_id] = known
        return self.model_copy(
            update={"entries": entries, "attempt": None, "told_at_us": now_us},
        )
