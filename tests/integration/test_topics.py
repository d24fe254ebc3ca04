"""The topics, on a real broker: made once, as they are written down, with a note of when."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from backchannel.clock import ManualClock
from backchannel.events.topics import CONTROL, DEAD, EVENTS, Topic
from backchannel_deploy.topics import TopicError, all_topics, ensure_topics, read_epochs
from support.broker import BrokerProcess, unique

pytestmark = pytest.mark.integration


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def topic() -> Topic:
    """A topic that no other test uses, like those that are counted."""
    return Topic(unique("topic"), 2, "", 3_600_000, 2_000_000, settings={"segment.ms": "600000"})


@pytest.fixture
async def admin(kafka: BrokerProcess) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


async def test_every_topic_is_created_once_with_its_partitions(
    kafka: BrokerProcess, admin: AIOKafkaAdminClient, clock: ManualClock
) -> None:
    await ensure_topics(kafka.bootstrap, clock=clock)
    again = await ensure_topics(kafka.bootstrap, clock=clock)

    assert (again.created, again.differences) == ((), ())
    found = {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}
    assert {each.name: each.partitions for each in all_topics()}.items() <= found.items()


async def test_a_setting_that_differs_is_told_and_left(
    kafka: BrokerProcess, admin: AIOKafkaAdminClient, clock: ManualClock, topic: Topic
) -> None:
    await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))
    kept = {**topic.configs(), "retention.ms": "1000"}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, kept)])

    for _ in range(2):
        found = await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))
        assert [str(each) for each in found.differences] == [
            f"{topic.name}: retention.ms is 1000, should be 3600000"
        ]


async def test_a_chosen_number_of_partitions_is_for_topics_that_are_not_there_yet(
    private_kafka: Callable[[], BrokerProcess], clock: ManualClock
) -> None:
    kafka = private_kafka().bootstrap
    first = await ensure_topics(kafka, clock=clock, partitions=3)
    again = await ensure_topics(kafka, clock=clock, partitions=5)
    grown = await ensure_topics(kafka, clock=clock, partitions=5, at_least=5)

    assert first.partitions == again.partitions
    counted = {name for name, count in again.partitions.items() if count == 3}
    assert counted == {each.name for each in all_topics() if each.partitions > 1}
    assert {name: count for name, count in grown.partitions.items() if count == 5} == grown.grown
    assert {"chat.events", "chat.content"} < set(grown.grown) < counted


async def test_another_number_of_partitions_is_refused_with_the_reason(
    kafka: BrokerProcess, admin: AIOKafkaAdminClient, clock: ManualClock, topic: Topic
) -> None:
    await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))
    await admin.create_partitions({topic.name: NewPartitions(3)})
    await _until(admin, lambda found: found.get(topic.name) == 3)

    with pytest.raises(TopicError, match=rf"{topic.name} has 3 partitions, not 2"):
        await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))


async def test_a_topic_made_anew_has_a_later_epoch(
    kafka: BrokerProcess, admin: AIOKafkaAdminClient, clock: ManualClock, topic: Topic
) -> None:
    await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))
    first = (await read_epochs(kafka.bootstrap))[topic.name]
    clock.advance(seconds=5)
    await admin.delete_topics([topic.name])
    await _until(admin, lambda found: topic.name not in found)

    await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))

    assert (await read_epochs(kafka.bootstrap))[topic.name] == first + 5_000


async def test_a_topic_that_stands_keeps_its_epoch(
    kafka: BrokerProcess, clock: ManualClock, topic: Topic
) -> None:
    for _ in range(2):
        await ensure_topics(kafka.bootstrap, clock=clock, topics=(CONTROL, topic))
        clock.advance(seconds=5)

    assert (await read_epochs(kafka.bootstrap))[topic.name] == clock.now_us() // 1000 - 10_000


async def test_two_that_create_at_once_agree_on_the_epoch(
    kafka: BrokerProcess, clock: ManualClock, topic: Topic
) -> None:
    clocks = [ManualClock(clock.now_us() + step) for step in (0, 7_000_000)]

    made = await asyncio.gather(
        *(ensure_topics(kafka.bootstrap, clock=each, topics=(CONTROL, topic)) for each in clocks)
    )

    creator = next(i for i, each in enumerate(made) if topic.name in each.created)
    assert sum(topic.name in each.created for each in made) == 1
    epoch = (await read_epochs(kafka.bootstrap))[topic.name]
    assert epoch == clocks[creator].now_us() // 1000


async def test_a_broker_that_refuses_is_told_in_its_own_words(
    kafka: BrokerProcess, clock: ManualClock, topic: Topic
) -> None:
    with pytest.raises(TopicError, match=topic.name):
        await ensure_topics(
            kafka.bootstrap, clock=clock, topics=(CONTROL, topic), replication_factor=3
        )


def test_the_log_append_time_and_the_sizes_are_part_of_the_settings() -> None:
    assert EVENTS.configs()["message.timestamp.type"] == "LogAppendTime"
    assert int(DEAD.configs()["max.message.bytes"]) == 2 * int(
        EVENTS.configs()["max.message.bytes"]
    )


async def _until(
    admin: AIOKafkaAdminClient, condition: Callable[[Mapping[str, int]], bool]
) -> None:
    """Waits until what the broker knows of its topics (name: partitions) is as it should be."""
    async with asyncio.timeout(20):
        while not condition(  # noqa: ASYNC110 -- nobody tells us when
            {each["topic"]: len(each["partitions"]) for each in await admin.describe_topics()}
        ):
            await asyncio.sleep(0.05)
