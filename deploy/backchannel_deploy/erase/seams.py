"""What an erasure needs of Kafka, and nothing more."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from aiokafka import TopicPartition

from backchannel.events import Tombstone
from backchannel.events.topics import Topic

__all__ = ["ControlTopic", "StoredLog"]


class ControlTopic(Protocol):
    """``chat.control``."""

    async def tombstones(self) -> list[Tombstone]:
        """Returns who was erased, in the order of the log."""
        ...

    async def say(self, control: Tombstone, /) -> None:
        """Writes a record; returns when it is durable."""
        ...

    async def unapplied(self) -> int:
        """Returns how many partitions of the stream's states have not let go of everybody who was
        erased."""
        ...

    async def forget_budgets(self, tombstone: Tombstone, /) -> int:
        """Takes back what was told of the subject's budgets before the request; returns how many
        records that were. Again is harmless."""
        ...


class StoredLog(Protocol):
    """How far topics go, and how far the sink has stored them."""

    async def ends(self, topics: Iterable[Topic], /) -> Mapping[TopicPartition, int]:
        """Returns for each partition the offset that the next record will get."""
        ...

    async def not_stored(self, wanted: Mapping[TopicPartition, int], /) -> int:
        """Returns how many records below some offsets the sink has not stored."""
        ...
