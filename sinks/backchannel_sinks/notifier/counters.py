"""What the notifier did, in numbers.

For alerts that were read ``received == repeated + unrouted + unreadable + routed``; for messages
that are done ``composed == delivered + dead``.
"""

from dataclasses import asdict, dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Counts since the process started."""

    received: int = 0
    """Records of ``chat.alerts``."""
    unreadable: int = 0
    """Records that are no alert this version can read."""
    repeated: int = 0
    """Changes of alerts that were known."""
    unrouted: int = 0
    """Changes that no route is for, or that were over before there was a notifier."""
    routed: int = 0
    """Changes that somebody is to be told of."""
    over_limit: int = 0
    """Alerts that were not told since their group was full."""
    silenced: int = 0
    """Alerts held back by a silence, each once a thread."""
    inhibited: int = 0
    """Alerts held back by another alert, each once a thread."""
    composed: int = 0
    delivered: int = 0
    """Messages that their targets took."""
    failed: int = 0
    """Attempts that a target did not take; they are made again."""
    dead: int = 0
    """Messages given up after a day, now on ``chat.dead``."""
    orphaned: int = 0
    """Conversations with targets that the configuration has no more, with what they still had to
    tell."""

    def facts(self) -> dict[str, int]:
        """Returns all of them, for a log line."""
        return asdict(self)
