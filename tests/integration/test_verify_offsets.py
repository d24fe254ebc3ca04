"""Offsets held to the log of a real broker: what ClickHouse has lost is stored again."""

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, Tombstone, control_key, encode_event, seal
from backchannel.events.topics import CONTROL, EVENTS
from backchannel_deploy.topics import ensure_topics
from backchannel_deploy.verify.run import Order, verify
from backchannel_deploy.verify.verdict import Checked, healthy, judge
from support.broker import BrokerProcess
from support.endpoint import ClickHouse

pytestmark = pytest.mark.integration

RECORDS = 6


async def publish(kafka: str) -> None:
    """Six records of two events, the fifth of them sent twice, all of them committed."""
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for pseq in (1, 2, 3, 4, 5, 5):
            events = [
                Interaction(producer_id="p", seq=2 * pseq + n, user_id=f"u{pseq}") for n in (0, 1)
            ]
            lines = [encode_event(each) for each in events]
            batch = seal(lines, producer_id="p", pseq=pseq)
            await producer.send_and_wait(
                EVENTS.name, batch.value, partition=3, headers=list(batch.headers)
            )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id="backchannel-sink", enable_auto_commit=False
    )
    async with consumer:
        partition = TopicPartition(EVENTS.name, 3)
        consumer.assign([partition])
        await consumer.commit({partition: RECORDS})


async def test_what_was_lost_is_stored_again_and_a_repeat_is_not(
    private_kafka: Callable[..., BrokerProcess],
    clickhouse: ClickHouse,
    analyst: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = await asyncio.to_thread(private_kafka)
    monkeypatch.setenv("BACKCHANNEL_DATABASE", analyst.database or "")
    await ensure_topics(broker.bootstrap, clock=SYSTEM_CLOCK)
    await publish(broker.bootstrap)

    async def look(*, repair: bool) -> Checked:
        order = Order(broker.bootstrap, clickhouse.url, None, 0, repair=repair)
        return await verify(analyst, order, SYSTEM_CLOCK)

    found = await look(repair=False)
    assert found.offsets.lost_count == RECORDS
    assert not healthy(judge(found))

    mended = await look(repair=True)
    assert (mended.stored_again, mended.offsets.repeats) == (10, 1)
    assert healthy(judge(mended))

    analyst.command("DELETE FROM events WHERE _offset = 2")
    assert [record.offset for record in (await look(repair=False)).offsets.lost[3]] == [2]
    assert (await look(repair=True)).stored_again == 2
    stored = analyst.query("SELECT count(), uniqExact(_offset) FROM events").result_rows
    assert stored == [(10, 5)]

    erased = Tombstone(
        erasure_id="e", subject="user", keys=("u2",), requested_at_us=SYSTEM_CLOCK.now_us()
    )
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        value = erased.model_dump_json().encode()
        await producer.send_and_wait(CONTROL.name, value, key=control_key(erased))
    analyst.command("DELETE FROM events WHERE user_id = 'u2'")
    left_out = await look(repair=True)
    assert (left_out.stored_again, left_out.offsets.erased) == (0, 1)

    analyst.command("INSERT INTO events SELECT * FROM events WHERE _offset IN (0, 3)")
    assert (await look(repair=False)).doubled == 4
    once = await look(repair=True)
    assert (once.removed, once.doubled) == (4, 0)
    assert healthy(judge(once))
