"""Puts mended letters back on ``chat.events``."""

from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from backchannel.events import SealedBatch
from backchannel.events.topics import EVENTS

__all__ = ["send_back"]


async def send_back(records: Sequence[tuple[int, SealedBatch]], options: dict[str, Any]) -> None:
    """Sends each record to its partition: always the one that the letter came from, since numbers
    of producers are remembered by partition. Returns when all are durable.

    Raises:
        ValueError: the topic has no such partition.
        KafkaError, OSError: not all of them are; sending all again is harmless.
    """
    async with AIOKafkaProducer(acks="all", enable_idempotence=True, **options) as producer:
        partitions = await producer.partitions_for(EVENTS.name)
        sent = []
        for partition, record in records:
            if partition not in partitions:
                raise ValueError(f"{EVENTS.name} has no partition {partition}")
            sent.append(
                await producer.send(
                    EVENTS.name, record.value, partition=partition, headers=list(record.headers)
                )
            )
        for each in sent:
            await each
