"""The Faust app: membership in the group, and records for the two agents.

Faust assigns partitions, fetches, and hands over raw records. What it holds about them is not
relied on, for what it does with it was seen to lose or double records:

- topics are declared without acks. Faust acks a batch even when the agent raises, and commits
  although a state was not written; here an offset is committed when the state is durable.
- states are not kept in Faust's tables. On recovery a table takes the last write, not the one with
  the higher offset, so a frozen process overwrites its successor; a failed changelog write is only
  logged. The agents write and read their changelogs themselves, under the names Faust would use.
- an agent never raises: the process ends instead, and its supervisor starts it again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ChannelT, StreamT
from yarl import URL

from backchannel.events.topics import PARTIALS
from backchannel.security import KafkaSecurity
from backchannel_processors.kafka_access import faust_credentials
from backchannel_processors.settings import WorkerSettings
from backchannel_processors.topics import APP_ID

__all__ = ["Group", "Received", "Take"]

Received: TypeAlias = ConsumerRecord[bytes | None, bytes | None]
"""A record as aiokafka hands it over."""

Take = Callable[[Sequence[Received]], Awaitable[None]]
"""Takes records of a topic, those of each partition in their order."""

_FETCH_WAIT_MS = 50
"""How long the broker holds a fetch that finds nothing. A record of a partition that the fetch did
not name waits for its end: Faust's own 1,500 ms would be most of an alert's delay."""

_PREFETCH_BACKOFF_S = 0.005
"""How long aiokafka asks the broker for nothing more while records of any partition lie with it
untaken. Its own 100 ms would be added to every alert's delay while events wait."""

_POLL_RECORDS_MAX = 500
"""How many records of each topic are handed over at once."""

_WAITING_CHUNKS_MAX = 4
"""How many such chunks may wait for their agent; beyond, only those of the other are fetched."""

_PASSES = 2**62
"""The offset of a message that holds the records of many partitions. Faust drops a message whose
offset is below what it has read of its partition, as after a seek: the others' would be lost. The
agents look at the offset of each record themselves."""

_LOOK_AGAIN_S = 0.02
"""How soon it is looked at again whether there is room for more."""


class Group:
    """This worker as a member of the consumer group."""

    def __init__(
        self,
        settings: WorkerSettings,
        security: KafkaSecurity,
        takes: dict[str, Take],
        *,
        partitions: int,
        opened: Callable[[dict[str, set[int]]], Awaitable[None]],
        closed: Callable[[], Awaitable[None]],
        failed: Callable[[BaseException], None],
    ) -> None:
        """
        Args:
            takes: the agent of each topic.
            partitions: how many there are of ``chat.events``.
            opened: called with the assigned partitions of each topic before their first record.
            closed: called before partitions go to somebody else.
            failed: called when the worker cannot go on.
        """
        self._opened, self._closed, self._failed = opened, closed, failed
        self._topics = set(takes)
        timeout_s = settings.session_timeout_s
        self._app = _App(
            APP_ID,
            broker=[URL(f"kafka://{server.strip()}") for server in settings.kafka.split(",")],
            broker_credentials=faust_credentials(security),
            broker_session_timeout=timeout_s,
            broker_heartbeat_interval=timeout_s * 0.3,
            broker_rebalance_timeout=max(10.0, timeout_s),
            broker_request_timeout=max(30.0, 2 * timeout_s),
            # A known name gets back what it had, and nobody looks whether that is all there is:
            # where partitions were added it must be another name.
            consumer_group_instance_id=f"{settings.slot}-{partitions}" if settings.slot else None,
            consumer_auto_offset_reset="earliest",
            broker_max_poll_records=_POLL_RECORDS_MAX,
            # What waits is bounded where records are fetched: a full buffer here would keep the
            # records of the other agent waiting.
            stream_buffer_maxsize=10_000,
            # Faust's own machinery that is not used: topics of its own, commits, web, old messages.
            topic_allow_declare=False,
            topic_disable_leader=True,
            broker_commit_interval=3_600.0,
            web_enabled=False,
            stream_wait_empty=False,
        )
        for topic, take in takes.items():
            self._agent(topic, take)
        self._app.on_rebalance_complete.connect(self._on_rebalance_complete)
        self._app.on_partitions_revoked.connect(self._on_partitions_revoked)

    async def start(self) -> None:
        """Joins the group."""
        await self._app.start()

    async def stop(self) -> None:
        """Leaves it."""
        await self._app.stop()

    async def wait_until_failed(self) -> None:
        """Waits until Faust gives up.

        Raises:
            RuntimeError: it has; the cause is what Faust gave up on.
        """
        await self._app._crashed.wait()
        raise RuntimeError("the consumer has failed") from self._app.crash_reason

    async def commit(self, topic: str, offsets: dict[int, int]) -> None:
        """Commits offsets. Refused silently when the partitions belong to somebody else now: then
        the commit was only a hint that nobody needs."""
        if offsets:
            # The driver's own commit: the public one commits what Faust counted as acked.
            await cast(driver.Consumer, self._app.consumer)._commit(
                {TP(topic, partition): offset for partition, offset in offsets.items()}
            )

    def _agent(self, topic: str, take: Take) -> None:
        channel = self._app.topic(
            topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
        )

        async def agent(stream: StreamT[Any]) -> None:
            try:
                self._app.queues[topic] = cast(ChannelT[Any], stream.channel).queue
                async for event in stream.events():
                    await take(event.message.value)
            except Exception as error:
                self._failed(error)
                raise

        self._app.agent(channel, name=topic, concurrency=1)(agent)

    async def _on_rebalance_complete(self, *_: Any, **__: Any) -> None:
        # Faust seeks to the committed offsets after this, and records flow only then.
        assigned: dict[str, set[int]] = {topic: set() for topic in self._topics}
        for tp in self._app.consumer.assignment():
            assigned[tp.topic].add(tp.partition)
        try:
            await self._opened(assigned)
        except Exception as error:
            self._failed(error)
            raise

    async def _on_partitions_revoked(self, *_: Any, **__: Any) -> None:
        try:
            await self._closed()
        except Exception as error:
            self._failed(error)
            raise


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer

    async def _fetch_records(
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP],
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        consumer._fetcher._prefetch_backoff = _PREFETCH_BACKOFF_S
        queues = cast(_App, self.app).queues
        full = {name for name, each in queues.items() if each.qsize() >= _WAITING_CHUNKS_MAX}
        # A backlog of events must not keep partials, and with them alerts, waiting: they are taken
        # first, and go on when there is no room for more events.
        wanted = {tp for tp in active_partitions if tp.topic not in full}
        urgent = {tp for tp in wanted if tp.topic == PARTIALS.name}
        records: dict[TP, list[Any]] = {}
        for tps in (urgent, wanted - urgent):
            if tps:  # aiokafka takes none for all
                records |= await super()._fetch_records(
                    consumer, tps, timeout=0, max_records=max_records
                )
        if not wanted:
            await asyncio.sleep(_LOOK_AGAIN_S)
        elif not records:
            wait_s = _LOOK_AGAIN_S if full else timeout
            records |= await super()._fetch_records(
                consumer, wanted, timeout=wait_s, max_records=max_records
            )
        # All records of a topic as one message, under the name of one of its partitions: what Faust
        # does with each message takes ten times as long as what the agents do with a small record,
        # and goes round the loop some times, which is most of a delay when the loop is busy.
        named: dict[str, TP] = {}
        together: dict[TP, list[Any]] = {}
        for tp, some in records.items():
            if some:
                together.setdefault(named.setdefault(tp.topic, tp), []).extend(some)
        return {
            tp: [replace(records[tp][-1], value=chunk, offset=_PASSES)]
            for tp, chunk in together.items()
        }


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


class _App(faust.App):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.queues: dict[str, asyncio.Queue[Any]] = {}
        """By topic, the chunks of records that were fetched and are not taken yet."""

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""
