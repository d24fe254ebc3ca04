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

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, cast

import faust
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, StreamT
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
"""Takes records of one partition, in their order."""

_FETCH_WAIT_MS = 100
"""How long the broker holds a fetch that finds nothing. A record of a partition that the fetch did
not name waits for its end: Faust's own 1,500 ms would be most of an alert's delay."""

_POLL_RECORDS_MAX = 500
_BUFFERED_CHUNKS_MAX = 4
"""How many records are handed over at once, and how many such chunks may wait for an agent.
Partials come first, but only when those before them have been taken."""


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
            stream_buffer_maxsize=_BUFFERED_CHUNKS_MAX,
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
        # A backlog of events must not keep partials, and with them alerts, waiting: aiokafka hands
        # over all that was fetched of one partition before it comes to the next one.
        urgent = {tp for tp in active_partitions if tp.topic == PARTIALS.name}
        fetch = super()._fetch_records
        records = await fetch(consumer, urgent, timeout=0, max_records=max_records)
        records = records or await fetch(
            consumer, active_partitions, timeout=timeout, max_records=max_records
        )
        # All records of a partition as one message: what Faust does with each message takes ten
        # times as long as what the agents do with a small record.
        return {tp: [replace(some[-1], value=some)] for tp, some in records.items() if some}


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    Consumer = _Consumer


class _App(faust.App):
    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""
