"""What stands on ``chat.control`` for the sink: when topics were made, and who was erased."""

import asyncio
import json
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from backchannel.events import read_tombstone
from backchannel.events.topics import CONTROL
from backchannel_sinks.tombstones import Tombstones

__all__ = ["Control"]

_POLL_MS = 1_000
_EPOCH = "epoch/"

log = structlog.get_logger("backchannel.sink")


class Control:
    """Read to its end before the first record is stored, and followed from then on."""

    def __init__(self, kafka: str, security: dict[str, Any]) -> None:
        self.epochs: dict[str, int] = {}
        """When each topic was made, as its maker noted."""
        self.tombstones = Tombstones()
        self._partition = TopicPartition(CONTROL.name, 0)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **security,
        )

    async def start(self) -> None:
        """Connects, and reads everything that is there."""
        await self._consumer.start()
        self._consumer.assign([self._partition])
        await self._consumer.seek_to_beginning(self._partition)
        end = (await self._consumer.end_offsets([self._partition]))[self._partition]
        while await self._consumer.position(self._partition) < end:
            await self._read()

    async def follow(self) -> None:
        """Takes in what is added, for ever."""
        while True:
            try:
                await self._read()
            except KafkaError as error:
                log.warning("control_not_read", why=type(error).__name__)
                await asyncio.sleep(_POLL_MS / 1_000)

    async def stop(self) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def _read(self) -> None:
        fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
        for record in fetched.get(self._partition, []):
            self._take(record)

    def _take(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        if key.startswith(_EPOCH) and record.value:
            topic = key.removeprefix(_EPOCH)
            self.epochs[topic] = int(json.loads(record.value)["epoch"])
        elif tombstone := read_tombstone(record.key, record.value):
            self.tombstones.add(tombstone)
            log.info("erasure_taken_in", erasure_id=tombstone.erasure_id)
