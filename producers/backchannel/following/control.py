"""``chat.control``, read to its end and followed from then on, without a group."""

from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from backchannel.events.topics import CONTROL

__all__ = ["ControlLog"]

_POLL_MS = 1_000
_PARTITION = TopicPartition(CONTROL.name, 0)


class ControlLog:
    """Hands over every record, in their order."""

    def __init__(
        self, options: Mapping[str, Any], take: Callable[[bytes, bytes | None], None]
    ) -> None:
        self._take = take
        self._consumer = AIOKafkaConsumer(
            enable_auto_commit=False, auto_offset_reset="earliest", **options
        )

    async def start(self) -> None:
        """Connects, and reads everything that is there.

        Raises:
            KafkaError, OSError: it cannot.
        """
        await self._consumer.start()
        self._consumer.assign([_PARTITION])
        await self._consumer.seek_to_beginning(_PARTITION)
        end = (await self._consumer.end_offsets([_PARTITION]))[_PARTITION]
        while await self._consumer.position(_PARTITION) < end:
            await self.read()

    async def read(self) -> None:
        """Reads what was added; waits for it a second at most.

        Raises:
            KafkaError: it cannot now; asked again it goes on where it was.
        """
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
        for record in fetched.get(_PARTITION, ()):
            self._take(record.key or b"", record.value)

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()
