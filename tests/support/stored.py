"""What lies in the topic of events, as its readers count it; and traffic to compare it with."""

import asyncio
import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from backchannel import Producer
from backchannel.events import Accepted, Event, Interaction, OpenedBatch, judge, open_batch
from backchannel.events.topics import EVENTS

__all__ = [
    "Load",
    "Stored",
    "assert_counts_add_up",
    "assert_stored_exactly",
    "counted",
    "create_events_topic",
    "create_topic",
    "events_of",
    "records_of",
    "stored_seqs",
    "track_all",
    "turn",
]

CONVERSATIONS = 40
BURST = 50


@dataclass(frozen=True)
class Stored:
    """One record as it lies in the topic."""

    partition: int
    batch: OpenedBatch


async def create_events_topic(bootstrap: str) -> None:
    """Makes ``chat.events`` as it is to be, unless another test was first."""
    await create_topic(bootstrap, EVENTS.name, EVENTS.partitions, EVENTS.configs())


async def create_topic(
    bootstrap: str, name: str, partitions: int, configs: Mapping[str, str] | None = None
) -> None:
    """Makes a topic, unless it is there."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs=dict(configs or {}))]
        )
    except TopicAlreadyExistsError:
        pass
    finally:
        await admin.close()


async def records_of(bootstrap: str, producer_id: str, topic: str = EVENTS.name) -> list[Stored]:
    """Every record of one producer, repeats included, each partition in its order."""
    found: list[Stored] = []
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(60):
        partitions = list(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        while any([await consumer.position(each) < ends[each] for each in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                batches = [open_batch(record.value, record.headers) for record in records]
                found += [
                    Stored(partition.partition, batch)
                    for batch in batches
                    if batch.producer_id == producer_id
                ]
    return found


async def events_of(bootstrap: str, producer_id: str) -> list[Event]:
    """Every event of one producer, repeats included."""
    records = await records_of(bootstrap, producer_id)
    verdicts = [each for record in records for each in record.batch.verdicts()]
    return [each.event for each in verdicts if isinstance(each, Accepted)]


def counted(records: list[Stored]) -> list[tuple[int, Interaction]]:
    """(partition, event) as readers count them: a record that is not above the last ``pseq`` of
    its partition is a repeat."""
    last_pseq: defaultdict[int, int] = defaultdict(int)
    events: list[tuple[int, Interaction]] = []
    for record in records:
        pseq = record.batch.pseq
        assert pseq is not None
        if pseq <= last_pseq[record.partition]:
            continue
        assert pseq == last_pseq[record.partition] + 1, "a jump is a loss"
        last_pseq[record.partition] = pseq
        for line in record.batch.lines:
            verdict = judge(line)
            assert isinstance(verdict, Accepted)
            assert isinstance(verdict.event, Interaction)
            events.append((record.partition, verdict.event))
    return events


async def stored_seqs(bootstrap: str, producer_id: str, topic: str = EVENTS.name) -> set[int]:
    """The numbers of a producer's events that lie in the topic, repeats of records left out; none
    may count twice."""
    last_pseq: defaultdict[int, int] = defaultdict(int)
    seqs: set[int] = set()
    for record in await records_of(bootstrap, producer_id, topic):
        pseq = record.batch.pseq
        assert pseq is not None
        if pseq <= last_pseq[record.partition]:
            continue
        last_pseq[record.partition] = pseq
        for line in record.batch.lines:
            seq = json.loads(line)["seq"]
            assert seq not in seqs, "an event counts twice"
            seqs.add(seq)
    return seqs


class Load:
    """Tracks events from a thread of its own, in bursts, and keeps the ledger of those accepted."""

    def __init__(self, producer: Producer, events_per_s: int) -> None:
        self.accepted: list[Interaction] = []
        self.offered = 0
        self._producer = producer
        self._pause_s = BURST / events_per_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    async def __aenter__(self) -> Self:
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._stopping.wait(self._pause_s):
            for _ in range(BURST):
                event = turn(self.offered)
                self.offered += 1
                if self._producer.track(event):
                    self.accepted.append(event)


def turn(number: int) -> Interaction:
    """One turn of the traffic, told from the others by its number."""
    return Interaction(
        conversation_id=f"c-{number % CONVERSATIONS}", request_id=str(number), input_tokens=number
    )


def track_all(producer: Producer, numbers: range) -> list[Interaction]:
    """Tracks these turns, all of which must be accepted, and returns them."""
    events = [turn(number) for number in numbers]
    assert all(producer.track(event) for event in events)
    return events


async def assert_stored_exactly(
    bootstrap: str, producer: Producer, accepted: list[Interaction], topic: str = EVENTS.name
) -> None:
    """Each accepted event counts once, and those of a conversation are in the order of the bot."""
    records = await records_of(bootstrap, producer.stats().producer_id, topic)
    found = [event for _, event in counted(records)]
    by_conversation: defaultdict[str, list[str]] = defaultdict(list)
    expected: defaultdict[str, list[str]] = defaultdict(list)
    for event in found:
        by_conversation[event.conversation_id].append(event.request_id)
    for event in accepted:
        expected[event.conversation_id].append(event.request_id)
    assert by_conversation == expected


def assert_counts_add_up(producer: Producer) -> None:
    """Nothing is lost without a count."""
    stats = producer.stats()
    assert stats.offered == stats.acked + stats.held + sum(stats.dropped.values())
