"""Everything that a worker writes to Kafka goes out here, and is durable when a call returns.

Faust's producer is neither idempotent nor does it say when a send has failed; this one is a plain
aiokafka producer that does both.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

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
            sent: list[asyncio.Future[Any]] = []
            for message in messages:
                sent.append(
                    await producer.send(
                        message.topic,
                        message.value,
                        key=message.key,
                        partition=message.partition,
                        headers=list(message.headers),
                    )
                )
                if turn is not None:
                    await turn.share()
            if sent:
                durable = asyncio.gather(*sent)
                await (durable if turn is None else turn.until(durable))
