"""The exporter as a process: reads ``chat.metrics``, answers Prometheus. Keeps nothing on a disk:
its counters begin at 0 when it starts, as those of any process that Prometheus watches."""

import asyncio
import sys
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from backchannel.clock import SYSTEM_CLOCK, Clock
from backchannel.events import Window
from backchannel.events.topics import METRICS
from backchannel.probes.server import ProbeServer
from backchannel.security import KafkaSecurity
from backchannel_sinks.logs import configure_logs
from backchannel_sinks.prometheus.settings import ExporterSettings
from backchannel_sinks.prometheus.window_counters import BASE_S, WindowCounters
from backchannel_sinks.stopping import stop_when_asked

__all__ = ["WIDTH", "exporter_main", "run_exporter"]

_RETRY_S = 1.0
_POLL_MS = 1_000
_ASSIGN_POLL_S = 0.05
_LOOK_BACK_MS = 360_000
"""How much is read at the start, to know what windows held before: longer than one stays open."""
WIDTH = b'"window_s":%d,' % BASE_S
"""What stands in every line that is of interest."""

log = structlog.get_logger("backchannel.exporter")


def exporter_main(settings: ExporterSettings) -> NoReturn:
    """Runs the exporter until SIGTERM or Ctrl-C, and ends the process."""
    configure_logs()
    sys.exit(asyncio.run(_main(settings)))


async def _main(settings: ExporterSettings) -> int:
    stop = asyncio.Event()
    stop_when_asked(stop)
    try:
        await run_exporter(settings, stop)
    except OSError as error:
        log.error("exporter_failed", why=str(error))
        return 1
    return 0


async def run_exporter(
    settings: ExporterSettings, stop: asyncio.Event, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Exports what comes on ``chat.metrics`` until ``stop`` is set. While Kafka is away it waits
    for it, and tells what it knows.

    Raises:
        OSError: its port can't be listened on.
        SettingsError: the settings of the Kafka connection are wrong.
    """
    counters = WindowCounters(settings.exporter_groupings, series_max=settings.exporter_series_max)
    reading = _Reading(settings, counters, clock)
    probes = ProbeServer(
        settings.probe_host,
        settings.exporter_port,
        dead=lambda: "",
        unready=lambda: reading.awaited,
        collect=counters.collect,
    )
    await probes.start()
    log.info("exporter_started", port=probes.port, groupings=settings.exporter_groupings)
    task = asyncio.create_task(reading.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await probes.stop()
        log.info("exporter_stopped")


class _Reading:
    def __init__(self, settings: ExporterSettings, counters: WindowCounters, clock: Clock) -> None:
        self._options = {"bootstrap_servers": settings.kafka, **KafkaSecurity.from_env().aiokafka()}
        self._counters = counters
        self._clock = clock
        self.awaited = "starting"
        self._told = ""

    async def run(self) -> None:
        """Reads for ever; begins again when Kafka is lost for good."""
        while True:
            try:
                async with AIOKafkaConsumer(
                    **self._options, enable_auto_commit=False, auto_offset_reset="latest"
                ) as consumer:
                    await self._read(consumer)
            except (KafkaError, OSError) as error:
                self.awaited = f"no answer from Kafka ({type(error).__name__})"
            if self.awaited != self._told:
                self._told = self.awaited
                log.warning("kafka_awaited", why=self.awaited)
            await asyncio.sleep(_RETRY_S)

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        if METRICS.name not in await consumer.topics():
            self.awaited = f"no topic {METRICS.name}: run `backchannel migrate`"
            return
        consumer.subscribe([METRICS.name])
        while not consumer.assignment():  # noqa: ASYNC110 -- without a group nobody is told
            await asyncio.sleep(_ASSIGN_POLL_S)
        old = await self._seek(consumer)
        while True:
            if not old:
                self.awaited = self._told = ""
            fetched: dict[TopicPartition, list[ConsumerRecord[Any, Any]]]
            fetched = await consumer.getmany(timeout_ms=_POLL_MS)
            for partition, records in fetched.items():
                for record in records:
                    self._take(record, counts=record.offset >= old.get(partition, 0))
            # By position: the last record before the end may be of a transaction, or gone.
            old = {tp: end for tp, end in old.items() if await consumer.position(tp) < end}

    async def _seek(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Goes back a little; returns where what is new begins."""
        partitions = list(consumer.assignment())
        since_ms = self._clock.now_us() // 1_000 - _LOOK_BACK_MS
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        for partition in partitions:
            first = found.get(partition)
            consumer.seek(partition, ends[partition] if first is None else first.offset)
        return {
            partition: end
            for partition, end in ends.items()
            if (first := found.get(partition)) is not None and first.offset < end
        }

    def _take(self, record: "ConsumerRecord[Any, Any]", *, counts: bool) -> None:
        now_us = self._clock.now_us()
        for line in (record.value or b"").split(b"\n"):
            if WIDTH not in line:
                continue  # four of five lines: reading them would cost most of the time
            try:
                window = Window.model_validate_json(line)
            except ValidationError:
                log.error("window_unreadable", partition=record.partition, offset=record.offset)
                continue
            if self._counters.wants(window):
                self._counters.take(window, now_us, counts=counts)
