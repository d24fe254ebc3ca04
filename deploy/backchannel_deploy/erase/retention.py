"""How long Kafka keeps what somebody who was erased has said. Pure."""

from collections.abc import Mapping

from backchannel.events.topics import Topic
from backchannel_deploy.topics import all_topics

__all__ = ["PROMISED_DAYS", "personal_topics", "too_long"]

PROMISED_DAYS = 30
"""Within how many days nothing of somebody who was erased is left, unless another is promised."""

_DAY_MS = 86_400_000


def personal_topics() -> tuple[Topic, ...]:
    """Returns the topics whose records may lead to somebody and go by age alone: Kafka cannot take
    one out. Compacted ones are no part of them: they say what stands now, and name a user only
    where alerts are grouped by users, or where a user was erased."""
    return tuple(each for each in all_topics() if each.cleanup != "compact")


def too_long(settings: Mapping[str, Mapping[str, str]], promised_days: int) -> dict[str, float]:
    """Returns the topics that keep their records for longer than promised, with their days."""
    days = {name: _days(each) for name, each in settings.items()}
    return {name: kept for name, kept in sorted(days.items()) if kept > promised_days}


def _days(settings: Mapping[str, str]) -> float:
    kept_ms = int(settings.get("retention.ms", "-1"))
    if kept_ms < 0 or settings.get("cleanup.policy", "delete") == "compact":
        return float("inf")
    return kept_ms / _DAY_MS
