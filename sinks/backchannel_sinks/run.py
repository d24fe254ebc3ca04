"""The sink as a process: wait for Kafka and ClickHouse, run until told to stop."""

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from prometheus_client.core import Metric

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events.topics import CONTROL
from backchannel.probes.agent import REPORT_S, process_name
from backchannel.probes.agent_metrics import agent_metrics
from backchannel.probes.server import ProbeServer
from backchannel.security import KafkaSecurity
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.store import ClickHouseStore
from backchannel_sinks.control_kafka import Control
from backchannel_sinks.counters import Counters
from backchannel_sinks.errors import SinkStoppedError
from backchannel_sinks.feeds import FEEDS
from backchannel_sinks.lane import BlockLimits
from backchannel_sinks.logs import configure_logs, log_progress
from backchannel_sinks.settings import SinkSettings
from backchannel_sinks.sink import Sink
from backchannel_sinks.sink_kafka import KafkaOffsets, KafkaOutbox, SinkConsumer
from backchannel_sinks.stopping import stop_when_asked

__all__ = ["run_sink", "sink_main"]

_WAIT_S = 1.0

log = structlog.get_logger("backchannel.sink")


async def run_sink(settings: SinkSettings, stop: asyncio.Event) -> None:
    """Stores what is on the topics until ``stop`` is set.

    Waits for Kafka and its topics as long as it takes; while ClickHouse is away, records wait.

    Raises:
        SinkStoppedError: going on could lose or double rows; the message says what to do.
        SettingsError: the settings of the Kafka connection are wrong.
    """
    security = KafkaSecurity.from_env().aiokafka()
    state = _State()
    # What can't go on ends: a process that answers is alive.
    probes = ProbeServer(
        settings.probe_host,
        settings.sink_port,
        dead=lambda: "",
        unready=state.unready,
        collect=state.collect,
    )
    await probes.start()
    try:
        consumer = await _connected(settings, security, stop, state)
        if consumer is not None:
            await _store(settings, security, stop, consumer, state)
    finally:
        await probes.stop()


class _State:
    """What the probes and the log say: first of Kafka that is awaited, then of the sink."""

    def __init__(self) -> None:
        self.awaited = "starting"
        self.sink: SinkConsumer | None = None

    def unready(self) -> str:
        return self.awaited if self.sink is None else self.sink.unready()

    def collect(self) -> Iterable[Metric]:
        return agent_metrics([] if self.sink is None else [self.sink.state()])

    def facts(self) -> Mapping[str, object]:
        return {} if self.sink is None else self.sink.state().facts()


async def _store(
    settings: SinkSettings,
    security: dict[str, Any],
    stop: asyncio.Event,
    consumer: AIOKafkaConsumer,
    state: _State,
) -> None:
    url = settings.clickhouse.get_secret_value()
    store = ClickHouseStore(
        lambda: connect(url, settings.database, answer_timeout_s=settings.sink_insert_timeout_s),
        SYSTEM_CLOCK,
    )
    outbox = KafkaOutbox(settings, security)
    counters = Counters()
    control = Control(settings.kafka, security)
    sink = Sink(
        KafkaOffsets(consumer),
        store,
        outbox,
        counters,
        SYSTEM_CLOCK,
        BlockLimits(
            settings.sink_block_rows_max,
            settings.sink_block_bytes_max,
            settings.sink_linger_ms * 1000,
            settings.sink_held_bytes_max,
            settings.sink_dead_in_a_row_max,
            settings.sink_linger_max_ms * 1000,
        ),
        control.tombstones,
    )
    tasks = [asyncio.create_task(log_progress(log, "agent_counted", state))]
    try:
        await outbox.start()
        await control.start()
        tasks.append(asyncio.create_task(control.follow()))
        state.sink = SinkConsumer(settings, security, consumer, sink, control.epochs)
        tasks.append(asyncio.create_task(_report(state.sink, outbox)))
        await state.sink.run(stop)
    finally:
        for task in tasks:
            task.cancel()
        await control.stop()
        sink.revoke()
        await consumer.stop()
        await outbox.stop()
        store.close()
        log.info("sink_stopped", **counters.facts())


async def _report(sink: SinkConsumer, outbox: KafkaOutbox) -> None:
    """Says how the sink is, for ever."""
    while True:
        await outbox.report(sink.state(), process_name(""), SYSTEM_CLOCK.now_us())
        await asyncio.sleep(REPORT_S)


def sink_main(settings: SinkSettings) -> NoReturn:
    """Runs the sink as a process, until SIGTERM or Ctrl-C, and ends the process."""
    configure_logs()
    code = asyncio.run(_main(settings))
    sys.stderr.flush()
    # Not sys.exit: a statement that nobody waits for any more has a thread, and that would be
    # waited for.
    os._exit(code)


async def _main(settings: SinkSettings) -> int:
    stop = asyncio.Event()
    stop_when_asked(stop)
    try:
        await run_sink(settings, stop)
    except SinkStoppedError as error:
        log.error("sink_stopped_itself", why=str(error))
        return 1
    except (KafkaError, OSError) as error:
        log.error("kafka_lost", why=type(error).__name__)
        return 1
    return 0


async def _connected(
    settings: SinkSettings, security: dict[str, Any], stop: asyncio.Event, state: _State
) -> AIOKafkaConsumer | None:
    """Returns a consumer once Kafka answers and has every topic; ``None`` when told to stop."""
    told = ""
    while not stop.is_set():
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            client_id="backchannel-sink",
            group_id=settings.sink_group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=settings.sink_session_timeout_ms,
            heartbeat_interval_ms=settings.sink_session_timeout_ms // 3,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_bytes=32 * 1024 * 1024,
            **security,
        )
        try:
            await consumer.start()
            missing = set(FEEDS) | {CONTROL.name}
            missing -= set(await consumer.topics())
            if not missing:
                return consumer
            why = f"no topic {', '.join(sorted(missing))}: run `backchannel migrate`"
        except (KafkaError, OSError) as error:
            why = f"Kafka does not answer ({type(error).__name__})"
        await consumer.stop()
        state.awaited = why
        if why != told:
            told = why
            log.warning("sink_waiting", why=why)
        await asyncio.sleep(_WAIT_S)
    return None
