"""Everything that a worker writes to Kafka goes out here, and is durable when a call returns.

Faust's producer is neither idempotent nor does it say when a send has failed; this one is a plain
aiokafka producer that does both.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from backchannel_processors.lease import Lease
from backchannel_processors.turn import Turn

__all__ = ["Message", "Outbox"]

_REQUEST_BYTES_MAX = 4 * 1024 * 1024
_BATCH_BYTES_MAX = 256 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """A record to be written."""

    topic: str
    partition: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Outbox:
    """Writes records. Idempotent, acknowledged by all in-sync replicas, in order by partition."""

    def __init__(self, options: dict[str, Any], lease: Lease, *, timeout_s: float = 30.0) -> None:
        self._options = options
        self._lease = lease
        self._timeout_s = timeout_s
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connects."""
        self._producer = AIOKafkaProducer(
            **self._options,
            acks="all",
            enable_idempotence=True,
            max_request_size=_REQUEST_BYTES_MAX,
            max_batch_size=_BATCH_BYTES_MAX,
        )
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnects."""
        if self._producer is not None:
            await self._producer.stop()

    async def post(self, messages: Iterable[Message], turn: Turn | None = None) -> None:
        """Writes records and returns when all of them are durable; of many, in ``turn``.

        Raises:
            TimeoutError: not in time. Some may be written, now or later: the process has to end.
            aiokafka.errors.KafkaError: Kafka refused one.
        """
        producer = self._producer
        assert producer is not None, "start it first"
        self._lease.check()
        async with asyncio.timeout(self._timeout_s):
            if turn is None:
                sent = [await _send(producer, message) for message in messages]
            else:
                sent = await _send_many(producer, messages, turn)
            if sent:
                durable = asyncio.gather(*sent)
                await (durable if turn is None else turn.until(durable))


async def _send(producer: AIOKafkaProducer, message: Message) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = await producer.send(
        message.topic,
        message.value,
        key=message.key,
        partition=message.partition,
        headers=list(message.headers),
    )
    return future


async def _send_many(
    producer: AIOKafkaProducer, messages: Iterable[Message], turn: Turn
) -> list[asyncio.Future[Any]]:
    """Sends in batches that are filled here: record by record the producer takes seven times as
    long. Those of a partition go out one after another, so their order stays."""
    sent: list[asyncio.Future[Any]] = []
    filling: dict[tuple[str, int], BatchBuilder] = {}
    for message in messages:
        place = (message.topic, message.partition)
        batch = filling.get(place)
        if batch is None or not _fits(batch, message):
            if batch is not None:
                sent.append(await turn.until(_send_batch(producer, place, batch)))
            batch = filling[place] = producer.create_batch()
            if not _fits(batch, message):
                raise AssertionError("an empty batch takes a record of any size")
        await turn.share()
    # No partition waits for another one.
    last = [_send_batch(producer, place, batch) for place, batch in filling.items()]
    return sent + await turn.until(asyncio.gather(*last))


def _fits(batch: BatchBuilder, message: Message) -> bool:
    """Puts a record into a batch that has room for it."""
    added = batch.append(
        timestamp=None, key=message.key, value=message.value, headers=list(message.headers)
    )
    return added is not None


async def _send_batch(
    producer: AIOKafkaProducer, place: tuple[str, int], batch: BatchBuilder
) -> asyncio.Future[Any]:
    batch.close()
    topic, partition = place
    future: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    return future
