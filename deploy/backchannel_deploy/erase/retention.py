"""How long Kafka keeps what somebody who was erased has said. Pure."""

from collections.abc import Mapping

from backchannel.events.topics import Topic
from backchannel_deploy.topics import all_topics

__all__ = ["PROMISED_DAYS", "kept_ms", "personal_topics", "too_long"]

PROMISED_DAYS = 30
"""Within how many days nothing of somebody who was erased is left, unless another is promised."""

_DAY_MS = 86_400_000


_SEGMENT_MS = 7 * _DAY_MS
"""Kafka's own, where a topic says nothing."""


def personal_topics() -> tuple[Topic, ...]:
    """Returns the topics whose records may lead to somebody and go by age alone: Kafka cannot take
    one out. Compacted ones are no part of them: what stands there of somebody is taken back."""
    return tuple(each for each in all_topics() if each.cleanup != "compact")


def too_long(settings: Mapping[str, Mapping[str, str]], promised_days: int) -> dict[str, float]:
    """Returns the topics that keep their records for longer than promised, with their days."""
    days = {name: _days(each) for name, each in settings.items()}
    return {name: kept for name, kept in sorted(days.items()) if kept > promised_days}


def kept_ms(settings: Mapping[str, Mapping[str, str]]) -> int:
    """Returns after how long the last record of these topics is gone that they have now, of those
    topics that do not keep them for ever."""
    days = [kept for each in settings.values() if (kept := _days(each)) != float("inf")]
    return round(max(days, default=0.0) * _DAY_MS)


def _days(settings: Mapping[str, str]) -> float:
    """How old a record may become: Kafka removes a whole segment, when the newest record in it is
    old enough."""
    kept_ms = int(settings.get("retention.ms", "-1"))
    if kept_ms < 0 or settings.get("cleanup.policy", "delete") == "compact":
        return float("inf")
    return (kept_ms + int(settings.get("segment.ms", _SEGMENT_MS))) / _DAY_MS
