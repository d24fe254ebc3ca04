"""Reads topics as any plain subscriber does: no group, nothing committed, all partitions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backchannel.security import KafkaSecurity
from backchannel_deploy.cli.settings import checked
from backchannel_deploy.connect import find_kafka
from backchannel_deploy.errors import UserError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, ConsumerRecord

__all__ = ["Listener"]

_START_TIMEOUT_S = 15
_POLL_S = 0.01


class Listener:
    """Yields the records of some topics, from the moment it is entered or from their start.

    Entering raises `UserError` when there is no Kafka to talk to or a topic is missing.
    """

    def __init__(
        self, topics: Sequence[str], *, kafka: str | None = None, from_start: bool = False
    ) -> None:
        self._topics = topics
        self._kafka = kafka
        self._from_start = from_start
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        from aiokafka import AIOKafkaConsumer
        from aiokafka.errors import KafkaError

        # What it has to say of a broker that is away is said here, once and in a sentence.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        kafka = self._kafka or find_kafka()
        with checked():
            security = KafkaSecurity.from_env().aiokafka()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka,
            auto_offset_reset="earliest" if self._from_start else "latest",
            **security,
        )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await consumer.start()
                await self._subscribe(consumer)
        except BaseException as error:
            await consumer.stop()
            if isinstance(error, TimeoutError | KafkaError | OSError):
                raise UserError(
                    f"Kafka at {kafka} gives no answer. Is it running, and is the address right?"
                ) from error
            raise
        self._consumer = consumer
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def __aiter__(self) -> AsyncIterator["ConsumerRecord[bytes | None, bytes | None]"]:
        assert self._consumer is not None, "enter it first"
        async for record in self._consumer:
            yield record

    async def _subscribe(self, consumer: "AIOKafkaConsumer") -> None:
        # Asked for first: a subscription to a topic that is missing just waits for it.
        known = await consumer.topics()
        missing = [topic for topic in self._topics if topic not in known]
        if missing:
            raise UserError(
                f"Kafka has no topic {', '.join(missing)}. Create it: backchannel migrate"
            )
        consumer.subscribe(self._topics)
        while not consumer.assignment():  # noqa: ASYNC110 -- without a group nobody is told
            await asyncio.sleep(_POLL_S)
        if not self._from_start:
            # The places are fixed now, not at the first fetch: all that comes after this is read.
            await consumer.seek_to_end()
            for assigned in consumer.assignment():
                await consumer.position(assigned)
