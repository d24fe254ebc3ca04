"""What alerts over a stretch of time amount to: how often, how long, how noisy."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from backchannel.events import Alert

__all__ = ["Story", "stories"]

_SECOND_US = 1_000_000


@dataclass(slots=True)
class Story:
    """One alert: a rule over a series."""

    rule: str
    severity: str
    dims: dict[str, str]
    spans: list[tuple[int, int]] = field(default_factory=list)
    """From when to when it fired, microseconds; the last one may end with the stretch."""
    flapped: bool = False

    @property
    def fired(self) -> int:
        return len(self.spans)

    @property
    def total_s(self) -> int:
        return sum(end - start for start, end in self.spans) // _SECOND_US

    @property
    def longest_s(self) -> int:
        return max((end - start for start, end in self.spans), default=0) // _SECOND_US

    def share(self, start_us: int, end_us: int) -> float:
        """Returns the share of a stretch of time in which it fired."""
        inside = (min(end, end_us) - max(start, start_us) for start, end in self.spans)
        return sum(max(0, each) for each in inside) / (end_us - start_us)


def stories(alerts: Iterable[Alert], end_us: int) -> list[Story]:
    """Returns what became of each alert by ``end_us``, those that fired most often first."""
    found: dict[str, Story] = {}
    for alert in alerts:
        story = found.get(alert.alert_id)
        if story is None:
            story = found[alert.alert_id] = Story(alert.rule, alert.severity, dict(alert.dims))
        if alert.state == "firing":
            story.spans.append((alert.evaluated_at_us, end_us))
            story.flapped |= alert.flapping
        else:
            story.spans[-1] = (story.spans[-1][0], alert.evaluated_at_us)
    return sorted(found.values(), key=lambda story: (-story.fired, story.rule))
