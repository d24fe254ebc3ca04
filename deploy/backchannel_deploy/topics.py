"""Creates the topics, each with its partitions and settings, and notes when.

A topic that is made anew begins at offset 0 again. So that its records are never taken for those
of the old one, every creation gets an *epoch*, noted on ``chat.control``: key ``epoch/<topic>``,
value ``{"kind": "epoch", "topic": …, "epoch": …}``, milliseconds since the Unix epoch. A topic that
somebody else made has no note, and the epoch 0.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from backchannel.clock import Clock
from backchannel.events.topics import CONTROL, EVENTS, PARTITIONS, TOPICS, Topic
from backchannel_deploy.partitions import as_cut, cut_wrongly, to_grow
from backchannel_deploy.worker_group import wait_until_no_worker_runs
from backchannel_processors.topics import CHANGELOGS

__all__ = [
    "Difference",
    "Inspection",
    "TopicError",
    "Topics",
    "all_topics",
    "ensure_topics",
    "inspect_topics",
    "partition_counts",
    "read_epochs",
    "topic_settings",
]

_WAIT_S = 0.1
_VISIBLE_TIMEOUT_S = 30
_EPOCH = "epoch/"


class TopicError(Exception):
    """The topics can't be made as they must be; the message says why, for a person."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting in which a topic that exists is not as this version would create it."""

    topic: str
    setting: str
    is_: str
    should_be: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.is_}, should be {self.should_be}"


@dataclass(frozen=True, slots=True)
class Topics:
    """What ``ensure_topics`` did and found."""

    created: tuple[str, ...]
    grown: Mapping[str, int]
    """Topics that were given more partitions, with their new number."""
    differences: tuple[Difference, ...]
    """Settings that an operator may have chosen: told, not changed."""
    partitions: Mapping[str, int]
    """Of each topic, as it is now."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """How the topics are, beside how they are meant."""

    missing: tuple[str, ...]
    partitions: Mapping[str, int]
    """Of each topic that exists."""
    differences: tuple[Difference, ...]
    under_replicated: tuple[str, ...]
    """Topics with a partition of which a copy is missing or behind."""


def all_topics() -> tuple[Topic, ...]:
    """Returns every topic there must be: those that the parts meet on, and the changelogs of the
    processors' states."""
    return (*TOPICS, *CHANGELOGS)


async def ensure_topics(
    kafka: str,
    *,
    clock: Clock,
    security: Mapping[str, Any] | None = None,
    replication_factor: int = -1,
    partitions: int = PARTITIONS,
    at_least: int = 0,
    topics: Sequence[Topic] | None = None,
) -> Topics:
    """Creates the topics that are missing; all of them can be used when it returns.

    Safe to repeat and to run twice at once. ``replication_factor`` -1 is the broker's default.
    ``partitions`` is how many the topics get that are counted, where none of them exists yet;
    ``at_least`` is how many those of events are given where they have fewer.
    ``security`` are aiokafka's connection arguments. ``topics`` must contain ``chat.control``.

    Raises:
        UserError: partitions are to be added, and workers run.
        TopicError: topics have numbers of partitions that do not go together, which can't be
            mended, or the broker refuses to create one.
        aiokafka.errors.KafkaError: Kafka is away, or refuses this user.
    """
    topics = all_topics() if topics is None else topics
    options = dict(security or {})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, **options)
    await admin.start()
    try:
        existing = await partition_counts(admin, topics)
        grown = to_grow(existing, at_least) if at_least else {}
        await _grow(admin, grown)
        existing |= grown
        cut = as_cut(topics, existing, partitions)
        missing = [topic for topic in cut if topic.name not in existing]
        created = await _create_noted(admin, kafka, options, missing, replication_factor, clock)
        now = await _visible(admin, topics, grown)
        if wrong := cut_wrongly(topics, now):
            raise TopicError(
                f"{'; '.join(wrong)}. Window states live beside the partitions. Where more were to "
                f"be added to {EVENTS.name}, do it again to the end: stop the workers, then "
                "backchannel migrate --partitions N."
            )
        kept = [topic for topic in topics if topic.name in existing]
        return Topics(tuple(created), grown, tuple(await _differences(admin, kept)), now)
    finally:
        await admin.close()


async def inspect_topics(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], *, settings: bool = True
) -> Inspection:
    """Returns how the topics are; changes nothing. ``settings`` are compared as well, which takes
    a right of its own.

    Raises:
        aiokafka.errors.KafkaError: Kafka is away, or refuses this user.
    """
    partitions = await partition_counts(admin, topics)
    existing = [topic for topic in topics if topic.name in partitions]
    return Inspection(
        tuple(topic.name for topic in topics if topic.name not in partitions),
        partitions,
        tuple(await _differences(admin, existing)) if settings else (),
        tuple(await _under_replicated(admin, partitions)),
    )


async def read_epochs(kafka: str, *, security: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Returns the epoch of each topic that has one, as noted on ``chat.control``."""
    return {topic: epochs[-1] for topic, epochs in (await _notes(kafka, security or {})).items()}


async def _create_noted(
    admin: AIOKafkaAdminClient,
    kafka: str,
    options: dict[str, Any],
    missing: Sequence[Topic],
    replication_factor: int,
    clock: Clock,
) -> list[str]:
    """Creates topics, and has the epoch of each noted before its first record can be written."""
    if not missing:
        return []
    created = await _create(admin, [t for t in missing if t == CONTROL], replication_factor)
    await _visible(admin, [CONTROL])
    others = [topic for topic in missing if topic != CONTROL]
    epoch = clock.now_us() // 1000
    # First the note: a kill between the two leaves a note of a topic that is missing still, and
    # the next creation notes its own. The other way round a new topic could pass for the old one.
    await _note(kafka, options, {topic.name: epoch for topic in others})
    made = await _create(admin, others, replication_factor)
    await _give_back(kafka, options, [t.name for t in others if t.name not in made], epoch)
    return created + made


async def _create(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], replication_factor: int
) -> list[str]:
    """Creates topics; returns the names of those that nobody else was creating."""
    if not topics:
        return []
    answer = await admin.create_topics(
        [
            NewTopic(
                name=topic.name,
                num_partitions=topic.partitions,
                replication_factor=replication_factor,
                # aiokafka lets the broker choose the factor only beside an (empty) assignment.
                replica_assignments={} if replication_factor == -1 else None,
                topic_configs=topic.configs(),
            )
            for topic in topics
        ]
    )
    created = []
    for name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            why = (rest[0] if rest else "") or error.__name__
            raise TopicError(f"Kafka refuses to create the topic {name}: {why}")
    return created


async def _give_back(kafka: str, options: dict[str, Any], lost: Sequence[str], epoch: int) -> None:
    """Restores the notes of topics that somebody else created in the same moment."""
    if not lost:
        return
    notes = await _notes(kafka, options)
    theirs = {name: [each for each in notes.get(name, []) if each != epoch][-1:] for name in lost}
    await _note(kafka, options, {name: epochs[0] for name, epochs in theirs.items() if epochs})


async def partition_counts(admin: AIOKafkaAdminClient, topics: Iterable[Topic]) -> dict[str, int]:
    """Returns how many partitions each of the topics has that exist and have their leaders."""
    # All are asked for, not these: to ask for one by name may create it.
    wanted = {topic.name for topic in topics}
    return {
        each["topic"]: len(each["partitions"])
        for each in await admin.describe_topics()
        if each["topic"] in wanted
        and each["error_code"] == 0
        and all(partition["error_code"] == 0 for partition in each["partitions"])
    }


async def _under_replicated(admin: AIOKafkaAdminClient, names: Iterable[str]) -> list[str]:
    wanted = set(names)
    return [
        each["topic"]
        for each in await admin.describe_topics()
        if each["topic"] in wanted
        and any(len(part["isr"]) < len(part["replicas"]) for part in each["partitions"])
    ]


async def _grow(admin: AIOKafkaAdminClient, grown: Mapping[str, int]) -> None:
    if grown:
        # A worker would find events of a partition that its peers do not know of yet.
        count = max(grown.values())
        with_up = f"BACKCHANNEL_PARTITIONS={count} backchannel up"
        await wait_until_no_worker_runs(admin, "Partitions can be added", with_up=with_up)
    for name, count in grown.items():
        await admin.create_partitions({name: NewPartitions(count)})


async def _visible(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic], grown: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Waits until every topic can be used, and all of its partitions: a broker knows a new one a
    little later."""
    async with asyncio.timeout(_VISIBLE_TIMEOUT_S):
        while True:
            partitions = await partition_counts(admin, topics)
            if len(partitions) == len(topics) and (grown or {}).items() <= partitions.items():
                return partitions
            await asyncio.sleep(_WAIT_S)


async def _differences(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[Difference]:
    found = await topic_settings(admin, topics)
    return [
        Difference(topic.name, setting, found[topic.name].get(setting, "missing"), should_be)
        for topic in topics
        for setting, should_be in topic.configs().items()
        if _canonical(found[topic.name].get(setting, "missing")) != _canonical(should_be)
    ]


async def topic_settings(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic]
) -> dict[str, dict[str, str]]:
    """Returns the settings of topics that exist, as the broker has them.

    Raises:
        aiokafka.errors.KafkaError: Kafka is away, or refuses this user.
    """
    if not topics:
        return {}
    answers = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic.name) for topic in topics]
    )
    found: dict[str, dict[str, str]] = {}
    for answer in answers:
        for code, message, _, name, entries in answer.resources:
            if code:
                raise for_code(code)(f"cannot read the settings of {name}: {message}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _canonical(value: str) -> str:
    """Lists are sets to Kafka: it may name their members in another order."""
    return ",".join(sorted(part.strip() for part in value.split(",")))


async def _note(kafka: str, options: Mapping[str, Any], epochs: Mapping[str, int]) -> None:
    if not epochs:
        return
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, **options
    )
    await producer.start()
    try:
        for topic, epoch in epochs.items():
            value = {"kind": "epoch", "topic": topic, "epoch": epoch}
            await producer.send_and_wait(
                CONTROL.name, json.dumps(value).encode(), key=f"{_EPOCH}{topic}".encode()
            )
    finally:
        await producer.stop()


async def _notes(kafka: str, options: Mapping[str, Any]) -> dict[str, list[int]]:
    """Returns all epochs of each topic that stand on ``chat.control`` still, oldest first."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest", **options
    )
    await consumer.start()
    try:
        partition = TopicPartition(CONTROL.name, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        notes: dict[str, list[int]] = {}
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(timeout_ms=500)).get(partition, []):
                key = (record.key or b"").decode("utf-8", "replace")
                if key.startswith(_EPOCH) and record.value:
                    epoch = int(json.loads(record.value)["epoch"])
                    notes.setdefault(key.removeprefix(_EPOCH), []).append(epoch)
        return notes
    finally:
        await consumer.stop()
