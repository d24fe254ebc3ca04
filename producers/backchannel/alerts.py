"""Alerts as they are decided: an async iterator over ``chat.alerts`` for anything in Python.

async for alert in backchannel.alerts.subscribe("localhost:9092"):
    print(alert.state, alert.rule, alert.annotations.get("summary", ""))
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from pydantic import ValidationError

from backchannel.events import Alert
from backchannel.events.topics import ALERTS
from backchannel.settings import ProducerSettings

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer

__all__ = ["Changes", "subscribe"]

_log = logging.getLogger("backchannel")
_RETRY_S = 1.0


async def subscribe(
    kafka: str | None = None, *, group: str | None = None, from_start: bool = False
) -> AsyncGenerator[Alert, None]:
    """Yields each change of each alert once, for ever; a change that is repeated after a crash is
    left out.

    ``kafka`` is ``host:port``, several with commas between; without it, BACKCHANNEL_KAFKA. How to
    connect is the producer's ``security_protocol`` and so on, from the environment.

    Without ``group`` it begins now, or with the last change of every alert there ever was
    (``from_start``). With ``group`` it goes on where the group was: a change counts as taken when
    the next one is asked for, so none is missed, and one may come again after a crash. Several
    subscribers of one group share the alerts between them.

    Waits for a broker that is away, and says so in the log.

    Raises:
        SettingsError: the address or the settings of the connection cannot be used.
    """
    settings = ProducerSettings.load(kafka, arguments={})
    consumer = await _connected(settings, group, from_start=from_start)
    changes = Changes()
    try:
        async for record in consumer:
            alert = changes.take(record.key, record.value)
            if alert is not None:
                yield alert
            if group is not None:
                await consumer.commit()
    finally:
        await consumer.stop()


class Changes:
    """What is new of alerts, whatever is repeated. Pure."""

    def __init__(self) -> None:
        self.skipped: int = 0
        """Records that are no alert this version can read."""
        self._last: dict[str, int] = {}

    def take(self, key: bytes | None, value: bytes | None) -> Alert | None:
        """Reads a record; ``None`` when it is a repetition, no alert, or the record of somebody who
        was erased: what comes under the same id is counted from the beginning."""
        if value is None:
            self._last.pop((key or b"").decode("utf-8", "replace"), None)
            return None
        try:
            alert = Alert.model_validate_json(value)
        except ValidationError:
            self.skipped += 1
            return None
        if alert.transition <= self._last.get(alert.alert_id, 0):
            return None
        self._last[alert.alert_id] = alert.transition
        return alert


async def _connected(
    settings: ProducerSettings, group: str | None, *, from_start: bool
) -> "AIOKafkaConsumer":
    from aiokafka import AIOKafkaConsumer
    from aiokafka.errors import KafkaError

    told = ""
    while True:
        consumer = AIOKafkaConsumer(
            ALERTS.name,
            bootstrap_servers=[each.strip() for each in settings.kafka.split(",")],
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest" if from_start or group else "latest",
            **settings.security.aiokafka(),
        )
        try:
            await consumer.start()
            if group is None and not from_start:
                # The places are fixed now, not at the first fetch: all that comes after is read.
                await consumer.seek_to_end()
                for assigned in consumer.assignment():
                    await consumer.position(assigned)
        except (KafkaError, OSError) as error:
            await consumer.stop()
            if told != type(error).__name__:
                told = type(error).__name__
                _log.warning("alerts: Kafka gives no answer yet (%s)", told)
            await asyncio.sleep(_RETRY_S)
            continue
        except BaseException:
            await consumer.stop()
            raise
        return consumer
