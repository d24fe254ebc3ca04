"""Keeps a bot's alert cache current: a thread of its own that reads two small topics."""

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from backchannel.alert_cache import AlertCache
from backchannel.events.topics import ALERTS, CONTROL
from backchannel.sending.quiet import QuietClient
from backchannel.settings import ProducerSettings

__all__ = ["AlertFeed"]

_log = logging.getLogger("backchannel")
_TOPICS = (ALERTS.name, CONTROL.name)
_POLL_MS = 200
_RETRY_S = 2.0


class AlertFeed:
    """Reads ``chat.alerts`` and ``chat.control`` from their beginnings and goes on for ever.

    Both are compacted: what is read is the last word on every alert and budget there ever was, not
    the traffic. While Kafka is away the cache stays as it is. Nothing here reaches the bot.
    """

    def __init__(self, settings: ProducerSettings, cache: AlertCache) -> None:
        self._settings = settings
        self._cache = cache
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backchannel-alerts", daemon=True)

    def start(self) -> None:
        """Begins in the background."""
        with suppress(RuntimeError):  # no thread can be started any more: the cache stays empty
            self._thread.start()

    def stop(self) -> None:
        """Ends soon; does not wait for it."""
        self._stopped.set()

    def _run(self) -> None:
        quiet = QuietClient()
        quiet.begin()
        try:
            asyncio.run(self._follow())
        except Exception as error:  # noqa: BLE001 -- the edge of the thread: told, and it ends
            _log.warning("alerts are not followed any more (%s)", type(error).__name__)
        finally:
            quiet.end()

    async def _follow(self) -> None:
        from aiokafka.errors import KafkaError

        while not self._stopped.is_set():
            with suppress(KafkaError, OSError):
                await self._read()
            for _ in range(round(_RETRY_S / (_POLL_MS / 1_000))):
                if not self._stopped.is_set():
                    await asyncio.sleep(_POLL_MS / 1_000)

    async def _read(self) -> None:
        from aiokafka import AIOKafkaConsumer

        options: dict[str, Any] = {
            "bootstrap_servers": [each.strip() for each in self._settings.kafka.split(",")],
            "client_id": f"{self._settings.client_id}-alerts",
            **self._settings.security.aiokafka(),
        }
        consumer = AIOKafkaConsumer(
            *_TOPICS, enable_auto_commit=False, auto_offset_reset="earliest", **options
        )
        await consumer.start()
        try:
            places = consumer.assignment()
            if {place.topic for place in places} != set(_TOPICS):
                return  # the topics are not made yet
            ends = await consumer.end_offsets(places)
            while not self._stopped.is_set():
                fetched = await consumer.getmany(timeout_ms=_POLL_MS)
                for records in fetched.values():
                    self._take(records)
                if not self._cache.current:
                    reached = [await consumer.position(each) >= ends[each] for each in places]
                    self._cache.current = all(reached)
        finally:
            await consumer.stop()

    def _take(self, records: Sequence[Any]) -> None:
        for record in records:
            self._cache.take(record.topic, record.key, record.value)
