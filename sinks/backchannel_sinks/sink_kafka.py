"""The sink on Kafka: a plain consumer whose commits fence it. The only file that knows aiokafka."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from backchannel.events import DeadLetter, seal_report
from backchannel.events.topics import DEAD, METRICS
from backchannel.probes.agent import AgentState
from backchannel_sinks.block import read_intent
from backchannel_sinks.errors import FencedError, SinkStoppedError, StoreAwayError
from backchannel_sinks.feeds import FEEDS
from backchannel_sinks.lane import Position, starting_position
from backchannel_sinks.records import Place, Record
from backchannel_sinks.settings import SinkSettings
from backchannel_sinks.sink import Sink

__all__ = ["KafkaOffsets", "KafkaOutbox", "SinkConsumer"]

_POLL_MS = 1_000
_POLL_RECORDS_MAX = 500
_STOP_GRACE_S = 4.0
_DEAD_REQUEST_BYTES = 9 * 1024 * 1024
_DEAD_TIMEOUT_S = 20.0

_FENCED = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

log = structlog.get_logger("backchannel.sink")


class KafkaOffsets:
    """The group's commits. A stale member's are refused by its generation."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    async def commit(self, positions: Mapping[Place, tuple[int, str]]) -> None:
        try:
            await self._consumer.commit(
                {
                    TopicPartition(place.topic, place.partition): OffsetAndMetadata(offset, note)
                    for place, (offset, note) in positions.items()
                }
            )
        except _FENCED as error:
            raise FencedError(type(error).__name__) from None


class KafkaOutbox:
    """What the sink itself has to say: dead letters, and how it is."""

    def __init__(self, settings: SinkSettings, security: dict[str, Any]) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka,
            client_id="backchannel-sink",
            acks="all",
            enable_idempotence=True,
            max_request_size=_DEAD_REQUEST_BYTES,
            **security,
        )

    async def start(self) -> None:
        """Connects."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnects."""
        await self._producer.stop()

    async def send(self, letters: Sequence[DeadLetter]) -> None:
        try:
            async with asyncio.timeout(_DEAD_TIMEOUT_S):
                sent = [
                    await self._producer.send(
                        DEAD.name, letter.value, headers=list(letter.headers())
                    )
                    for letter in letters
                ]
                await asyncio.gather(*sent)
        except (KafkaError, TimeoutError) as error:
            raise StoreAwayError(f"chat.dead: {type(error).__name__}") from None

    async def report(self, state: AgentState, process: str, now_us: int) -> None:
        """Publishes how the sink is. A broker that is away is left for the next time."""
        sealed = seal_report(state.report(process, now_us))
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(_DEAD_TIMEOUT_S):
                await self._producer.send_and_wait(
                    METRICS.name, sealed.value, headers=list(sealed.headers), partition=0
                )


class SinkConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Feeds a sink from Kafka until it is told to stop."""

    def __init__(
        self,
        settings: SinkSettings,
        security: dict[str, Any],
        consumer: AIOKafkaConsumer,
        sink: Sink,
        epochs: Mapping[str, int],
    ) -> None:
        self._settings = settings
        self._security = security
        self._consumer = consumer
        self._sink = sink
        self._epochs = dict(epochs)
        self._news = asyncio.Event()
        self._last_round = asyncio.Event()
        self._failed: SinkStoppedError | KafkaError | OSError | None = None
        self._assigned = False

    def unready(self) -> str:
        """Says what it waits for; nothing when it stores what comes."""
        if not self._assigned:
            return "waits for its partitions"
        return "ClickHouse is away" if self._sink.is_away else ""

    def state(self) -> AgentState:
        """Returns how it is now."""
        ends = {
            Place(each.topic, each.partition): self._consumer.highwater(each) or 0
            for each in self._consumer.assignment()
        }
        return self._sink.state(ends)

    async def run(self, stop: asyncio.Event) -> None:
        """Reads and stores until ``stop`` is set; then stores what is held, if that is quick. What
        is not done after some seconds is left to the next owner.

        Raises:
            SinkStoppedError: a person is needed.
            KafkaError, OSError: it is not known where to begin; start again.
        """
        self._consumer.subscribe(topics=list(FEEDS), listener=self)
        # Side by side: while a block is inserted the next one comes in, so under load blocks are
        # large.
        reading = asyncio.ensure_future(self._read_for_ever())
        storing = asyncio.ensure_future(self._store_for_ever())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([reading, storing, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in (reading, storing):
                if task.done():
                    task.result()
            reading.cancel()
            self._last_round.set()
            await asyncio.wait([storing], timeout=_STOP_GRACE_S)
            if storing.done():
                storing.result()
        finally:
            for task in (reading, storing):
                task.cancel()
            stopping.cancel()

    # -- reading ----------------------------------------------------------------------------------

    async def _read_for_ever(self) -> None:
        while True:
            self._pause_what_is_full()
            await self._read()
            if self._failed is not None:
                raise self._failed
            self._news.set()

    async def _read(self) -> None:
        """Takes what Kafka has; waits for it a second at most."""
        try:
            fetched: dict[
                TopicPartition, list[ConsumerRecord[bytes, bytes]]
            ] = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=_POLL_RECORDS_MAX)
        except NoOffsetForPartitionError:
            return  # never committed, and not sought yet: the listener does so right after
        except OffsetOutOfRangeError as error:
            raise SinkStoppedError(
                "Kafka has no record any more where the sink is to go on: its retention has passed,"
                " or the topic was made anew. Nothing is skipped without you: start the sink again"
                " to go on at the oldest record there is."
            ) from error
        for partition, records in fetched.items():
            place = Place(partition.topic, partition.partition)
            seek_to = self._sink.offer(place, [_record(record) for record in records])
            if seek_to is not None and partition in self._consumer.assignment():
                self._consumer.seek(partition, seek_to)

    def _pause_what_is_full(self) -> None:
        full = self._sink.full()
        assigned = self._consumer.assignment()
        wanted = {p for p in assigned if Place(p.topic, p.partition) in full}
        paused = set(self._consumer.paused())
        if wanted - paused:
            self._consumer.pause(*(wanted - paused))
        if back := (paused & assigned) - wanted:
            self._consumer.resume(*back)

    # -- storing ----------------------------------------------------------------------------------

    async def _store_for_ever(self) -> None:
        """Stores what is due; after the last round is announced, everything that is held, once."""
        while not self._last_round.is_set():
            wait_s = self._sink.due_in_s(_POLL_MS / 1000)
            if wait_s > 0:
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._news.wait()
                continue
            await self._store()
            self._pause_what_is_full()
        await self._store(everything=True)

    async def _store(self, *, everything: bool = False) -> None:
        async with self._sink.lock:
            try:
                await self._sink.store_due(everything=everything)
            except FencedError as error:
                # Whoever owns the partitions now finds the announced blocks and settles them.
                log.warning("commit_refused", why=str(error))
                self._sink.revoke()
            except KafkaError as error:
                # It is not known whether the commit arrived. The lanes keep their blocks: the same
                # announcement, token and commit again are harmless.
                log.warning("commit_failed", why=type(error).__name__)
                await asyncio.sleep(0.5)

    # -- rebalances -------------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Lets go, between two blocks: the lock is held while one is under way."""
        async with self._sink.lock:
            self._assigned = False
            self._sink.revoke()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Takes over where the commits say."""
        async with self._sink.lock:
            self._sink.revoke()
            if not assigned:
                self._assigned = True  # others have them all: it stands by
                return
            try:
                positions = await self._positions(assigned)
            except (SinkStoppedError, KafkaError, OSError) as error:
                # Raised here it would be logged and forgotten, and the partitions with it.
                self._failed = error
                return
            for place, position in positions.items():
                self._consumer.seek(TopicPartition(place.topic, place.partition), position.offset)
            self._sink.assign(positions, self._epochs)
            self._assigned = True
            log.info("partitions_assigned", partitions=len(assigned))

    async def _positions(self, assigned: Sequence[TopicPartition]) -> dict[Place, Position]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._settings.kafka, **self._security)
        await admin.start()
        try:
            committed = await admin.list_consumer_group_offsets(
                self._settings.sink_group, partitions=list(assigned)
            )
        finally:
            await admin.close()
        beginnings = await self._consumer.beginning_offsets(list(assigned))
        ends = await self._consumer.end_offsets(list(assigned))
        positions: dict[Place, Position] = {}
        for partition in assigned:
            # A partition that was never committed is missing, or has -1.
            commit = committed.get(partition)
            known = commit is not None and commit.offset >= 0
            place = Place(partition.topic, partition.partition)
            position = starting_position(
                place,
                committed=commit.offset if known else None,
                in_doubt=read_intent(commit.metadata or "") if known else None,
                beginning=beginnings[partition],
                end=ends[partition],
            )
            if position.lost and known:
                log.error(
                    "records_expired",
                    topic=place.topic,
                    partition=place.partition,
                    records=position.lost,
                )
            positions[place] = position
        return positions


def _record(record: "ConsumerRecord[bytes, bytes]") -> Record:
    return Record(record.offset, record.timestamp, record.value, tuple(record.headers))
