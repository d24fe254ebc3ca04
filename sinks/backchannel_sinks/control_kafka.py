"""What stands on ``chat.control`` for the sink: when topics were made, and who was erased."""

import asyncio
import json
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from backchannel.events import read_tombstone
from backchannel.following.control import ControlLog
from backchannel_sinks.tombstones import Tombstones

__all__ = ["Control"]

_RETRY_S = 1.0
_EPOCH = "epoch/"

log = structlog.get_logger("backchannel.sink")


class Control:
    """Read to its end before the first record is stored, and followed from then on."""

    def __init__(self, kafka: str, security: dict[str, Any]) -> None:
        self.epochs: dict[str, int] = {}
        """When each topic was made, as its maker noted."""
        self.tombstones = Tombstones()
        self._log = ControlLog({"bootstrap_servers": kafka, **security}, self._take)

    async def start(self) -> None:
        """Connects, and reads everything that is there."""
        await self._log.start()

    async def follow(self) -> None:
        """Takes in what is added, for ever."""
        while True:
            try:
                await self._log.read()
            except KafkaError as error:
                log.warning("control_not_read", why=type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    async def stop(self) -> None:
        """Disconnects."""
        await self._log.stop()

    def _take(self, key: bytes, value: bytes | None) -> None:
        name = key.decode("utf-8", "replace")
        if name.startswith(_EPOCH) and value:
            self.epochs[name.removeprefix(_EPOCH)] = int(json.loads(value)["epoch"])
        elif tombstone := read_tombstone(key, value):
            self.tombstones.add(tombstone)
            log.info("erasure_taken_in", erasure_id=tombstone.erasure_id)
