"""Every topic: partitions, retention, key and size limit. ``backchannel migrate`` creates them."""

from dataclasses import dataclass, field

__all__ = [
    "ALERTS",
    "CONTENT",
    "CONTROL",
    "DEAD",
    "EVENTS",
    "METRICS",
    "NOTIFIER",
    "PARTIALS",
    "PARTITIONS",
    "TOPICS",
    "Topic",
]

PARTITIONS = 12
"""Partitions of every topic that is counted: fixed at creation, since states live beside them."""

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MB = 1024 * 1024

_SOON = {"segment.ms": str(_DAY_MS)}
"""Kafka removes a whole segment, when the newest record in it is old enough. With its own week to a
segment, what is to go after a day may stay for eight."""
_COMPACTED_SOON = {"max.compaction.lag.ms": str(_DAY_MS)}
"""What was taken back is off the disk after so long. Kafka itself waits for half of the log to be
outdated, which may be never."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it is to be created."""

    name: str
    partitions: int
    key: str
    """What the record key is; empty for none."""
    retention_ms: int
    """Age at which records go; -1 keeps them for ever."""
    message_bytes_max: int
    cleanup: str = "delete"
    settings: dict[str, str] = field(default_factory=dict)
    """Further topic settings, by their Kafka names."""

    def configs(self) -> dict[str, str]:
        """Returns the topic's settings by their Kafka names."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.message_bytes_max),
            **self.settings,
        }


EVENTS = Topic(
    "chat.events",
    PARTITIONS,
    key="",
    retention_ms=7 * _DAY_MS,
    message_bytes_max=4 * _MB,
    # The broker's clock is the second clock of every event.
    settings={"message.timestamp.type": "LogAppendTime", **_SOON},
)
PARTIALS = Topic(
    "chat.partials",
    PARTITIONS,
    key="",
    retention_ms=_DAY_MS,
    message_bytes_max=4 * _MB,
    settings=dict(_SOON),
)
METRICS = Topic(
    "chat.metrics",
    PARTITIONS,
    key="",
    retention_ms=7 * _DAY_MS,
    message_bytes_max=4 * _MB,
    settings=dict(_SOON),
)
ALERTS = Topic(
    "chat.alerts",
    PARTITIONS,
    key="alert_id",
    retention_ms=-1,
    message_bytes_max=_MB,
    cleanup="compact",
    settings=dict(_COMPACTED_SOON),
)
DEAD = Topic(
    "chat.dead",
    1,
    key="",
    retention_ms=29 * _DAY_MS,
    # Twice that of chat.events: a dead letter is the original with headers of its own.
    message_bytes_max=8 * _MB,
    settings=dict(_SOON),
)
CONTROL = Topic(
    "chat.control",
    1,
    key="kind/id",
    retention_ms=-1,
    message_bytes_max=_MB,
    cleanup="compact",
    settings=dict(_COMPACTED_SOON),
)
CONTENT = Topic(
    "chat.content",
    PARTITIONS,
    key="",
    retention_ms=_DAY_MS,
    message_bytes_max=4 * _MB,
    settings=dict(_SOON),
)
NOTIFIER = Topic(
    "chat.notifier",
    1,
    key="group/kind/id",
    retention_ms=-1,
    message_bytes_max=8 * _MB,
    cleanup="compact",
    # A thread is written with each attempt: small segments, so that what is outdated goes soon.
    settings={
        "segment.bytes": str(16 * _MB),
        "segment.ms": str(_HOUR_MS),
        **_COMPACTED_SOON,
    },
)

TOPICS: tuple[Topic, ...] = (EVENTS, PARTIALS, METRICS, ALERTS, DEAD, CONTROL, CONTENT, NOTIFIER)
"""All topics that parts of the pipeline meet on, in the data's order."""
