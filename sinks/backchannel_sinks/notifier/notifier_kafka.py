"""The notifier on Kafka: one member of the group has every partition, and writes the threads.

    chat.alerts ──▶ offer ──▶ threads ──▶ chat.notifier ┐ one transaction: what is committed
                                          commit        ┘ is durable, and nothing else is

The transactional id is the group's: whoever takes over locks out its predecessor at the broker, so
a process that was frozen cannot write over what its successor knows.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)
from aiokafka.errors import KafkaError, ProducerFenced
from pydantic import ValidationError

from backchannel.clock import Clock
from backchannel.events import Alert, read_control
from backchannel.events.topics import ALERTS, CONTROL, NOTIFIER
from backchannel.probes.agent import Lag, PartitionState
from backchannel_sinks.notifier.counters import Counters
from backchannel_sinks.notifier.dispatch import Dispatch
from backchannel_sinks.notifier.errors import TopicsMissingError
from backchannel_sinks.notifier.message import Origin
from backchannel_sinks.notifier.settings import NotifierSettings
from backchannel_sinks.notifier.thread import Thread

__all__ = ["OneForAll", "Term", "follow_control"]

_POLL_MS = 500
_WRITE_TIMEOUT_S = 20.0
_STOP_S = 3.0
_STATE = TopicPartition(NOTIFIER.name, 0)

log = structlog.get_logger("backchannel.notifier")


class OneForAll(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """Gives every partition to one member: inhibition and groups need all alerts in one place."""

    name = "backchannel-one-for-all"
    version = 0

    @classmethod
    def assign(
        cls, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        partitions = sorted(cluster.partitions_for_topic(ALERTS.name) or ())
        chosen = min(members)
        return {
            member: ConsumerProtocolMemberAssignment(
                cls.version, [(ALERTS.name, partitions)] if member == chosen else [], b""
            )
            for member in members
        }

    @classmethod
    def metadata(cls, topics: Sequence[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Has nothing to remember."""


class Term(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """One connection to Kafka: stands by, and takes over when the group says so."""

    def __init__(
        self,
        settings: NotifierSettings,
        options: Mapping[str, Any],
        dispatch: Dispatch,
        counters: Counters,
        clock: Clock,
        *,
        on_news: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._options = options
        self._dispatch = dispatch
        self._counters = counters
        self._clock = clock
        self._on_news = on_news
        self._consumer = AIOKafkaConsumer(
            **self._options,
            client_id="backchannel-notifier",
            group_id=settings.notifier_group,
            group_instance_id=settings.slot or None,
            partition_assignment_strategy=[OneForAll],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=round(settings.session_timeout_s * 1_000),
            heartbeat_interval_ms=round(settings.session_timeout_s * 300),
        )
        # Other groups, with other targets, keep their threads on the same topic.
        self._thread = f"{settings.notifier_group}/thread/".encode()
        self._leader = f"{settings.notifier_group}/leader".encode()
        self._producer: AIOKafkaProducer | None = None
        self._assigned: list[TopicPartition] = []
        self._rebalances = 0
        self._is_loaded = False
        self._positions: dict[TopicPartition, int] = {}
        """How far was read, where that is not written yet."""
        self._read_to: dict[TopicPartition, int] = {}
        self._lag = Lag()
        self._writing = asyncio.Lock()
        self._written = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that delivers."""
        return self._is_loaded

    @property
    def is_in_group(self) -> bool:
        """Whether the group has said whether this process delivers."""
        return self._rebalances > 0 and (self._is_loaded or not self._assigned)

    def partitions(self, now_us: int) -> tuple[PartitionState, ...]:
        """Returns how far ``chat.alerts`` is read, where this process delivers."""
        return tuple(
            self._lag.of(tp.topic, tp.partition, offset, now_us)
            for tp, offset in (self._read_to.items() if self._is_loaded else ())
        )

    def write_soon(self) -> None:
        """Something changed that must outlive the process."""
        self._written.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Stands by or delivers until ``stop`` is set.

        Raises:
            KafkaError, OSError: begin anew.
        """
        try:
            await self._consumer.start()
            self._consumer.subscribe([ALERTS.name], listener=self)
            reading = asyncio.ensure_future(self._read(stop))
            writing = asyncio.ensure_future(self._write_for_ever())
            try:
                done, _ = await asyncio.wait(
                    [reading, writing], return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                await self._write()
            finally:
                reading.cancel()
                writing.cancel()
                await asyncio.gather(reading, writing, return_exceptions=True)
        except ProducerFenced:
            # Somebody else has taken over, and tells what we know too.
            self._dispatch.clear()
            raise
        finally:
            # What is known is kept: while Kafka is away, messages are tried again all the same.
            await self._step_down()
            await self._consumer.stop()

    # -- taking over and stepping down -----------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Writes what is not written yet, and lets go of everything."""
        self._rebalances += 1
        if self._is_loaded:
            try:
                await self._write()
            except (KafkaError, TimeoutError) as error:
                # The next one composes the same messages under the same ids.
                log.warning("threads_not_written", why=type(error).__name__)
        await self._step_down()
        self._dispatch.clear()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Notes what is to be taken over; the reading task does it."""
        self._rebalances += 1
        if not assigned:
            self._dispatch.clear()
        self._assigned = sorted(assigned)

    async def _step_down(self) -> None:
        self._assigned = []
        if self._is_loaded:
            self._is_loaded = False
            log.info("notifier_stood_down")
        producer, self._producer = self._producer, None
        if producer is not None:
            # What it still holds is not waited for: it is in the threads.
            with suppress(TimeoutError, KafkaError):
                async with asyncio.timeout(_STOP_S):
                    await producer.stop()

    async def _take_over(self, assigned: list[TopicPartition], rebalance: int) -> None:
        """Locks out whoever delivered before, and learns what that one knew."""
        producer = AIOKafkaProducer(
            **self._options,
            client_id="backchannel-notifier",
            transactional_id=self._settings.notifier_group,
            max_request_size=NOTIFIER.message_bytes_max,
        )
        self._producer = producer
        await producer.start()
        mark = os.urandom(16).hex().encode()
        async with producer.transaction():
            await producer.send_and_wait(_STATE.topic, mark, key=self._leader, partition=0)
        threads = await self._threads(mark)
        begins = await self._consumer.beginning_offsets(assigned)
        ends = await self._consumer.end_offsets(assigned)
        committed = {place: await self._consumer.committed(place) for place in assigned}
        # Where no notifier has been, all that is there is past: what fires of it is news.
        until = {
            place: ends[place]
            if committed[place] is None
            else max(begins[place], min(committed[place], ends[place]))
            for place in assigned
        }
        past = await self._past(begins, until)
        if rebalance != self._rebalances:
            return
        self._dispatch.clear()
        self._dispatch.load(threads)
        for partition, record, alert in past:
            if committed[partition] is None and alert.state == "firing":
                self._offer(partition, record)
            else:
                self._dispatch.recall(alert)
        for partition, offset in until.items():
            self._consumer.seek(partition, offset)
        self._positions = {place: until[place] for place in assigned if committed[place] is None}
        self._read_to = dict(until)
        self._is_loaded = True
        self.write_soon()
        log.info("notifier_took_over", threads=len(threads), alerts=len(past))
        self._on_news()

    async def _threads(self, mark: bytes) -> list[Thread]:
        """Returns every thread, as it was when our mark was written."""
        found: dict[bytes, Thread] = {}
        async with _reader(self._options, isolation_level="read_committed") as consumer:
            consumer.assign([_STATE])
            await consumer.seek_to_beginning(_STATE)
            async with asyncio.timeout(60):
                async for record in consumer:
                    if record.key == self._leader and record.value == mark:
                        return list(found.values())
                    if record.key is None or not record.key.startswith(self._thread):
                        continue
                    found.pop(record.key, None)
                    if record.value is not None:
                        found[record.key] = _thread(record.value)
        raise AssertionError("a consumer iterates for ever")

    async def _past(
        self, begins: dict[TopicPartition, int], until: dict[TopicPartition, int]
    ) -> list[tuple[TopicPartition, Any, Alert]]:
        """Returns the last change of every alert before the offsets, and where it stands."""
        found: dict[str, tuple[TopicPartition, Any, Alert]] = {}
        spans = {tp: (begins[tp], until[tp]) for tp in until if begins[tp] < until[tp]}
        async for partition, record in _records(self._options, spans):
            alert = _alert(record.value)
            if record.value is None:
                found.pop((record.key or b"").decode("utf-8", "replace"), None)
            if alert is None:
                continue
            known = found.get(alert.alert_id)
            if known is None or alert.transition > known[2].transition:
                found[alert.alert_id] = (partition, record, alert)
        return list(found.values())

    # -- reading ---------------------------------------------------------------------------------

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            rebalance = self._rebalances
            if self._assigned and not self._is_loaded:
                await self._take_over(self._assigned, rebalance)
                continue
            fetched = await self._consumer.getmany(timeout_ms=_POLL_MS)
            if rebalance != self._rebalances or not self._is_loaded:
                continue  # they are read again by whoever takes over, from the commit
            for partition, records in fetched.items():
                for record in records:
                    self._offer(partition, record)
                if records:
                    self._read_to[partition] = records[-1].offset + 1
                    self._positions[partition] = records[-1].offset + 1
                    self._lag.took(partition.partition, records[-1].timestamp * 1_000)
            self._lag.looked(
                {tp.partition: self._consumer.highwater(tp) or 0 for tp in self._read_to}
            )
            if fetched:
                self._on_news()
                self.write_soon()

    def _offer(self, partition: TopicPartition, record: Any) -> None:
        if record.value is None:
            self._dispatch.forget((record.key or b"").decode("utf-8", "replace"))
            return
        alert = _alert(record.value)
        if alert is None:
            self._counters.received += 1
            self._counters.unreadable += 1
            return
        self._dispatch.offer(
            alert,
            Origin(partition=partition.partition, offset=record.offset),
            self._clock.now_us(),
        )

    # -- writing ---------------------------------------------------------------------------------

    async def _write_for_ever(self) -> None:
        while True:
            await self._written.wait()
            self._written.clear()
            await self._write()

    async def _write(self) -> None:
        """Writes the threads that changed, and how far ``chat.alerts`` was read, as one."""
        async with self._writing:
            if not self._is_loaded or self._producer is None:
                return
            positions, self._positions = self._positions, {}
            changes = self._dispatch.take_changes()
            if not changes and not positions:
                return
            try:
                async with asyncio.timeout(_WRITE_TIMEOUT_S):
                    await self._write_as_one(self._producer, changes, positions)
            except BaseException:
                self._dispatch.put_back(changes)
                self._positions = positions | self._positions
                raise

    async def _write_as_one(
        self,
        producer: AIOKafkaProducer,
        changes: Mapping[str, Thread | None],
        positions: dict[TopicPartition, int],
    ) -> None:
        async with producer.transaction():
            for key, thread in changes.items():
                value = None if thread is None else thread.model_dump_json().encode()
                await producer.send(
                    _STATE.topic, value, key=self._thread + key.encode(), partition=0
                )
            if positions:
                await producer.send_offsets_to_transaction(positions, self._settings.notifier_group)


async def follow_control(
    options: Mapping[str, Any], dispatch: Dispatch, clock: Clock, current: asyncio.Event
) -> None:
    """Hears what people say on ``chat.control``, from its beginning and for ever; ``current`` is
    set once all that stood there was heard.

    Raises:
        TopicsMissingError: this or another topic of the notifier is not made yet.
        KafkaError, OSError: begin anew.
    """
    partition = TopicPartition(CONTROL.name, 0)
    async with _reader(options) as consumer:
        missing = {ALERTS.name, CONTROL.name, NOTIFIER.name} - set(await consumer.topics())
        if missing:
            raise TopicsMissingError(f"no topic {', '.join(sorted(missing))}")
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        while True:
            if not current.is_set() and await consumer.position(partition) >= end:
                current.set()
            fetched = await consumer.getmany(timeout_ms=_POLL_MS)
            for record in fetched.get(partition, ()):
                control = read_control(record.key, record.value)
                if control is not None:
                    dispatch.hear(control, clock.now_us())


async def _records(
    options: Mapping[str, Any], spans: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncIterator[tuple[TopicPartition, Any]]:
    """Yields the records of each partition from the first offset to before the second."""
    if not spans:
        return
    async with _reader(options) as consumer:
        consumer.assign(list(spans))
        for partition, (begin, _) in spans.items():
            consumer.seek(partition, begin)
        waiting = set(spans)
        while waiting:
            fetched = await consumer.getmany(*waiting, timeout_ms=_POLL_MS)
            for partition, records in fetched.items():
                for record in records:
                    if record.offset < spans[partition][1]:
                        yield partition, record
            waiting = {tp for tp in waiting if await consumer.position(tp) < spans[tp][1]}


@asynccontextmanager
async def _reader(options: Mapping[str, Any], **more: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Connects without a group; disconnects also when the broker was not there."""
    consumer = AIOKafkaConsumer(
        **options, **more, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def _alert(value: bytes | None) -> Alert | None:
    try:
        return Alert.model_validate_json(value or b"")
    except ValidationError:
        return None


def _thread(value: bytes) -> Thread:
    # What an older or newer version wrote and this one cannot read is a bug: it must not be lost
    # in silence.
    return Thread.model_validate_json(value)
