"""Sets back what a group has committed, as nobody should do, and somebody will."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from backchannel.events.topics import Topic

__all__ = ["rewind"]

_EMPTY_S = 30.0
"""A member that is stopped, but keeps its name, stays in the group until its session is over."""


async def rewind(bootstrap: str, group: str, topics: Collection[Topic]) -> None:
    """Commits offset 0 of every partition; the group must have no members that run."""
    partitions = [
        TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)
    ]
    async with (
        AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
        ) as consumer,
        asyncio.timeout(_EMPTY_S),
    ):
        consumer.assign(partitions)
        while True:
            try:
                await consumer.commit(dict.fromkeys(partitions, 0))
            except CommitFailedError:
                await asyncio.sleep(0.5)
            else:
                return
