"""Sealed batches to Kafka, through aiokafka's idempotent producer: all that knows aiokafka."""

import asyncio
from copy import copy
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from backchannel.errors import BrokenError, RefusedError, SettingsError, UnreachableError
from backchannel.events import LINE_BYTES_MAX, SealedBatch
from backchannel.events.topics import EVENTS
from backchannel.forks import whole_import
from backchannel.sending.quiet import QuietClient
from backchannel.settings import ProducerSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaProducer

__all__ = ["KafkaTransport"]

_CONNECT_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 0.5
_HEADERS_BYTES_MAX = 4096
"""More than a record's own headers and framing take."""
_REFUSALS = frozenset(
    {
        "MessageSizeTooLargeError",
        "RecordListTooLargeError",
        "InvalidMessageError",
        "InvalidRecordError",
        "InvalidTimestampError",
        "PolicyViolationError",
        "UnsupportedForMessageFormatError",
    }
)
"""Errors that the same bytes will always meet. Everything else is worth another try: also a
missing right, which an operator may grant while the bot runs."""


class KafkaTransport:
    """Writes to one topic with ``acks=all`` and an idempotent producer.

    Raises:
        SettingsError: certificates or keys cannot be used.
    """

    def __init__(self, settings: ProducerSettings, topic: str = EVENTS.name) -> None:
        if settings.compression not in ("", "gzip") and find_spec("cramjam") is None:
            raise SettingsError([f"compression {settings.compression} needs the package cramjam"])
        self._topic = topic
        self._options: dict[str, Any] = {
            "bootstrap_servers": [address.strip() for address in settings.kafka.split(",")],
            "client_id": settings.client_id,
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": settings.compression or None,
            "request_timeout_ms": settings.request_timeout_ms,
            # A batch is a record, and a record larger than the client's batch is sent alone.
            "max_batch_size": settings.batch_bytes_max,
            "max_request_size": max(settings.batch_bytes_max, LINE_BYTES_MAX) + _HEADERS_BYTES_MAX,
            **settings.security.aiokafka(),
        }
        self._quiet = QuietClient()
        self._producer: AIOKafkaProducer | None = None

    def for_child(self) -> "KafkaTransport":
        """Returns the same for a forked child: unconnected, and with the parent's connection left
        alone. To be called in the child."""
        self._quiet.end()
        fresh = copy(self)
        fresh._quiet = QuietClient()
        fresh._producer = None
        return fresh

    async def connect(self) -> int:
        # Here and not above: the client takes a quarter of a second to import, which is nothing
        # in the sender's thread and much in the start of a bot.
        with whole_import():
            from aiokafka import AIOKafkaProducer
            from aiokafka.errors import KafkaError

        self._quiet.begin()
        producer = AIOKafkaProducer(**self._options)
        waits_for = "connecting"
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await producer.start()
                waits_for = f"topic {self._topic}"
                partitions = await producer.partitions_for(self._topic)
        except (KafkaError, OSError) as error:  # a TimeoutError is an OSError
            await self._end(producer)
            reason = f"{waits_for}: {self._quiet.cause or _name(error)}"
            raise UnreachableError(reason) from error
        except BaseException:
            await self._end(producer)
            raise
        self._producer = producer
        return len(partitions)

    async def send(self, partition: int, batch: SealedBatch) -> None:
        from aiokafka.errors import KafkaError

        if self._producer is None:
            raise BrokenError("not connected")
        try:
            # The client's own queue of the partition is empty, since we send one batch at a time:
            # its send() does not wait for room.
            stored = await self._producer.send(
                self._topic, batch.value, partition=partition, headers=list(batch.headers)
            )
            await stored
        except (KafkaError, OSError) as error:
            if _name(error) in _REFUSALS:
                raise RefusedError(_name(error)) from error
            raise BrokenError(_name(error)) from error

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._end(producer)

    async def _end(self, producer: "AIOKafkaProducer") -> None:
        try:
            await _abandon(producer)
        finally:
            self._quiet.end()


async def _abandon(producer: "AIOKafkaProducer") -> None:
    """Ends a producer at once.

    Its own ``stop()`` first delivers what is under way, which an idempotent producer tries for
    ever. So what is under way is failed first, and then the task that would send it is ended: it
    waits for the answers of its requests, and only a second cancellation breaks that.
    """
    from aiokafka.errors import ProducerClosed

    producer._message_accumulator.fail_all(ProducerClosed())
    sending = producer._sender.sender_task
    if sending is not None:
        for _ in range(3):
            sending.cancel()
            await asyncio.wait([sending], timeout=_CLOSE_TIMEOUT_S / 5)
            if sending.done():
                break
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S / 2):
            await producer.stop()
    except Exception:  # noqa: BLE001
        # It did not end in time, or fell over what was cut off: its connections are closed with
        # the loop at the latest. Nobody needs it any more.
        producer._closed = True


def _name(error: BaseException) -> str:
    """Names an error without its message, which may hold addresses, user names or data."""
    return type(error).__name__
