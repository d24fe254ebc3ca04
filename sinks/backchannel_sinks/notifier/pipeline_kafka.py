"""What Kafka knows of the workers: members of their group, and how far they have come."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from backchannel.events import ALERT_SCHEMA, AgentReport, Alert, DeadLetter, seal_report
from backchannel.events.topics import ALERTS, DEAD, METRICS
from backchannel_sinks.notifier.message import Message
from backchannel_sinks.notifier.pipeline_watch import Vitals

__all__ = ["KafkaProbe", "Outbox"]

_TIMEOUT_S = 5.0


class KafkaProbe:
    """Asks for the vitals of a group, over connections that it makes again when they break."""

    def __init__(self, options: Mapping[str, Any], group: str) -> None:
        self._options = options
        self._group = group
        self._admin: AIOKafkaAdminClient | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def vitals(self) -> Vitals | None:
        """Returns them within seconds; ``None`` when Kafka gives no answer."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                if self._admin is None or self._consumer is None:
                    await self._connect()
                assert self._admin is not None
                assert self._consumer is not None
                return await _vitals(self._admin, self._consumer, self._group)
        except (KafkaError, OSError):  # a TimeoutError is an OSError
            await self.close()
            return None

    async def close(self) -> None:
        """Disconnects."""
        admin, self._admin = self._admin, None
        consumer, self._consumer = self._consumer, None
        if admin is not None:
            await admin.close()
        if consumer is not None:
            await consumer.stop()

    async def _connect(self) -> None:
        self._admin = AIOKafkaAdminClient(**self._options)
        self._consumer = AIOKafkaConsumer(enable_auto_commit=False, **self._options)
        await self._admin.start()
        await self._consumer.start()


async def _vitals(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, group: str) -> Vitals:
    (answer,) = await admin.describe_consumer_groups([group])
    members = len(answer.groups[0][5])
    committed = await admin.list_consumer_group_offsets(group)
    offsets = {place: found.offset for place, found in committed.items() if found.offset >= 0}
    ends = await consumer.end_offsets(list(offsets)) if offsets else {}
    begins = await consumer.beginning_offsets(list(offsets)) if offsets else {}
    waiting = sum(max(0, ends[at] - max(offset, begins[at])) for at, offset in offsets.items())
    return Vitals(members, sum(offsets.values()), waiting)


class Outbox:
    """Writes what the notifier itself has to say: dead letters, its own alert, and how it is."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        self._producer: AIOKafkaProducer | None = None
        # One at a time: who fails disconnects, and would have others fail with it.
        self._sending = asyncio.Lock()

    async def put_aside(self, message: Message, why: str) -> bool:
        """Writes a message that was given up to ``chat.dead``; says whether it is durable there."""
        letter = DeadLetter(
            topic=ALERTS.name,
            partition=message.origin.partition,
            offset=max(0, message.origin.offset),
            # Several targets may be left without word of the same alert.
            line=int(message.id.removeprefix("msg_")[:7], 16),
            reason=f"not delivered to {message.target} within a day: {why}",
            stage="notifier",
            broker_time_ms=message.first_at_us // 1_000,
            value=message.model_dump_json().encode(),
        )
        return await self._send(DEAD.name, letter.value, headers=list(letter.headers()))

    async def publish(self, alert: Alert) -> bool:
        """Writes an alert to ``chat.alerts``; says whether it is durable there."""
        value = alert.model_dump_json().encode()
        headers = [("schema", ALERT_SCHEMA.encode())]
        return await self._send(ALERTS.name, value, key=alert.alert_id.encode(), headers=headers)

    async def report(self, report: AgentReport) -> bool:
        """Writes how the notifier is to ``chat.metrics``; says whether it is durable there."""
        sealed = seal_report(report)
        headers = list(sealed.headers)
        return await self._send(METRICS.name, sealed.value, headers=headers, partition=0)

    async def close(self) -> None:
        """Disconnects."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _send(self, topic: str, value: bytes, **options: Any) -> bool:
        async with self._sending:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    if self._producer is None:
                        self._producer = AIOKafkaProducer(
                            acks="all", enable_idempotence=True, **self._options
                        )
                        await self._producer.start()
                    await self._producer.send_and_wait(topic, value, **options)
                    return True
            except (KafkaError, OSError):  # a TimeoutError is an OSError
                await self.close()
                return False
