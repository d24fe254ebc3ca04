"""The changelogs of the agents: where their states live between two owners of a partition.

They are named as Faust names the changelogs of an app's tables.
"""

from backchannel.events.topics import ALERTS, EVENTS, METRICS, PARTIALS, PARTITIONS, Topic

__all__ = ["APP_ID", "CHANGELOGS", "MERGES", "MERGE_CHANGELOG", "SOURCES", "WINDOWS_CHANGELOG"]

APP_ID = "backchannel-processors"
"""Faust app and consumer group."""

_DAY_MS = 24 * 3_600_000
_SETTINGS = {
    # Recovery reads what is not compacted yet, and an open segment never is: small ones, soon
    # closed. With Kafka's own 1 GiB a recovery reads many times the state.
    "segment.bytes": str(32 * 1024 * 1024),
    "segment.ms": str(10 * 60_000),
    "min.cleanable.dirty.ratio": "0.2",
    # What a frozen process writes when it wakes up must not compact away what its successor
    # wrote: recovery takes the higher offset, as long as both are there.
    "min.compaction.lag.ms": str(3_600_000),
    # And what was taken away, of somebody who was erased, has left the disk after this.
    "max.compaction.lag.ms": str(_DAY_MS),
}


def _changelog(table: str) -> Topic:
    return Topic(
        f"{APP_ID}-{table}-changelog",
        PARTITIONS,
        key="kind/id",
        # Twice the age at which events go: a state outlives everything it was made of.
        retention_ms=14 * _DAY_MS,
        message_bytes_max=4 * 1024 * 1024,
        cleanup="compact,delete",
        settings=dict(_SETTINGS),
    )


WINDOWS_CHANGELOG = _changelog("windows")
"""Partition n holds the state of partition n of ``chat.events``."""

MERGE_CHANGELOG = _changelog("merge")
"""Partition n holds the state of partition n of ``chat.partials``."""

CHANGELOGS: tuple[Topic, ...] = (WINDOWS_CHANGELOG, MERGE_CHANGELOG)

SOURCES = (EVENTS.name, WINDOWS_CHANGELOG.name)
"""Topics with the same number of partitions, which may be raised while no worker runs."""

MERGES = (PARTIALS.name, MERGE_CHANGELOG.name, METRICS.name, ALERTS.name)
"""Topics with the same number of partitions for ever: a series stays where its long windows are."""
