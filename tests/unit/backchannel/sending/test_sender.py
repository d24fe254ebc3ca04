"""Connections that break, batches that are refused, and what is said about it."""

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from backchannel import MemoryTransport, Producer, Transport
from backchannel.events import Interaction, SealedBatch
from backchannel.sending import sender


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  # what is waited for happens in another thread
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("after_storing", [False, True])
async def test_after_a_break_the_same_bytes_are_sent_again_and_nothing_is_lost(
    after_storing: bool,
) -> None:
    transport = MemoryTransport(1)
    transport.break_next(after_storing=after_storing)
    async with Producer(transport=transport, linger_ms=0) as producer:
        for turn in range(1, 51):
            producer.track(Interaction(turn=turn))
            await asyncio.sleep(0.001)

    assert [event.turn for event in transport.events()] == list(range(1, 51))
    assert producer.stats().reconnects == 1
    first = transport.records[0][0]
    assert (transport.records[0].count(first) == 2) == after_storing


async def test_pseq_is_gap_free_in_each_partition_over_breaks() -> None:
    transport = MemoryTransport(4)
    async with Producer(transport=transport, linger_ms=0) as producer:
        for turn in range(200):
            if turn % 40 == 0:
                transport.break_next(after_storing=turn % 80 == 0)
            producer.track(Interaction(conversation_id=f"c{turn % 13}"))
            await asyncio.sleep(0.001)

    for records in transport.records:
        numbers = [int(dict(record.headers)["pseq"]) for record in records]
        assert sorted(set(numbers)) == list(range(1, len(set(numbers)) + 1))
        assert numbers == sorted(numbers)


async def test_a_refused_batch_is_counted_and_leaves_a_gap_in_pseq(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = MemoryTransport(1)
    transport.refuse_next()
    async with Producer(transport=transport) as producer:
        producer.track(Interaction())
        assert await producer.flush(2) == 1
        producer.track(Interaction())
        assert await producer.flush(2) == 0

    assert producer.stats().dropped == {"refused": 1}
    assert [dict(record.headers)["pseq"] for record in transport.records[0]] == [b"2"]
    assert caplog.text.count("refused") == 1


async def test_events_wait_while_nobody_answers_and_go_out_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = MemoryTransport()
    transport.away = True
    async with Producer(transport=transport) as producer:
        for _ in range(10):
            assert producer.track(Interaction())
        await until(lambda: "does not answer" in caplog.text)
        await asyncio.sleep(0.3)  # several more tries
        transport.away = False
        assert await producer.flush(10) == 0

    assert len(transport.events()) == 10
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.text.count("does not answer") == caplog.text.count("answers again") == 1


async def test_each_producer_has_an_origin_on_its_records() -> None:
    transport = MemoryTransport(1)
    async with Producer(transport=transport, origin="replay:r-1") as producer:
        producer.track(Interaction())

    assert dict(transport.records[0][0].headers)["origin"] == b"replay:r-1"


async def test_nothing_is_sent_twice_while_a_batch_is_under_way() -> None:
    under_way: set[int] = set()
    most = 0

    class Watching(MemoryTransport):
        async def send(self, partition: int, batch: SealedBatch) -> None:
            nonlocal most
            assert partition not in under_way, "two batches of a partition at once"
            under_way.add(partition)
            most = max(most, len(under_way))
            await asyncio.sleep(0.005)
            await super().send(partition, batch)
            under_way.discard(partition)

    transport: Transport = Watching(4)
    async with Producer(transport=transport, linger_ms=0) as producer:
        for turn in range(400):
            producer.track(Interaction(conversation_id=f"c{turn}"))
            await asyncio.sleep(0)

    assert producer.stats().acked == 400
    assert most == 4


async def test_a_bug_in_a_transport_is_said_once_and_events_still_go_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Buggy(MemoryTransport):
        failures = 3

        async def send(self, partition: int, batch: SealedBatch) -> None:
            if self.failures:
                self.failures -= 1
                raise ZeroDivisionError("canary")
            await super().send(partition, batch)

    transport = Buggy(1)
    async with Producer(transport=transport) as producer:
        producer.track(Interaction())
        assert await producer.flush(5) == 0

    assert [r.levelno for r in caplog.records if r.name == "backchannel"] == [logging.ERROR]
    assert "ZeroDivisionError" in caplog.text
    assert "canary" not in caplog.text


async def test_a_transport_that_cannot_be_closed_holds_up_no_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Unclosable(MemoryTransport):
        async def close(self) -> None:
            raise ZeroDivisionError("canary")

    transport = Unclosable(1)
    producer = Producer(transport=transport)
    producer.track(Interaction())
    began = time.monotonic()

    assert await producer.close(5) == 0
    assert time.monotonic() - began < 2
    assert [len(transport.events()), len(caplog.records)] == [1, 1]
    assert "canary" not in caplog.text


async def test_an_answer_that_never_comes_is_told_and_the_batch_sent_over_a_new_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_ANSWERS_LOOK_S", 0.01)
    monkeypatch.setattr(sender, "_AWAY_AFTER_S", 0.05)
    monkeypatch.setattr(sender, "_STALLED_AFTER_S", 0.2)

    class Forgetful(MemoryTransport):
        async def send(self, partition: int, batch: SealedBatch) -> None:
            await super().send(partition, batch)
            if self.connections == 1:
                await asyncio.Event().wait()

    transport = Forgetful(1)
    async with Producer(transport=transport) as producer:
        producer.track(Interaction())
        assert await producer.flush(5) == 0

    assert [len(transport.events()), producer.stats().reconnects] == [1, 1]
    assert [r.getMessage().split()[2:4] for r in caplog.records] == [
        ["does", "not"],
        ["answers", "again"],
    ]


async def test_a_batch_holds_at_most_its_bytes_and_all_go_out_in_order() -> None:
    transport = MemoryTransport(1)
    transport.away = True
    async with Producer(transport=transport, batch_bytes_max=4096, health_interval_s=0) as producer:
        for turn in range(1, 1501):  # more than a lane sums up; fewer as they go out
            producer.track(Interaction(turn=turn))
        transport.away = False
        assert await producer.flush(5) == 0

    sizes = [len(record.value) for record in transport.records[0]]
    assert max(sizes) <= 4096 < 2 * min(sizes[:-1])
    assert [event.turn for event in transport.events()] == list(range(1, 1501))


async def test_a_topic_made_anew_with_fewer_partitions_loses_what_was_for_the_others() -> None:
    transport = MemoryTransport(8)
    async with Producer(transport=transport) as producer:
        producer.track(Interaction())
        await producer.flush(2)
        transport.away = True
        for number in range(50):
            producer.track(Interaction(conversation_id=f"c{number}"))
        await asyncio.sleep(0.1)
        del transport.records[1:]
        transport.break_next()
        transport.away = False
        lost = await producer.flush(5)

    stats = producer.stats()
    assert lost == stats.dropped.get("refused", 0) > 0
    assert stats.offered == stats.acked + sum(stats.dropped.values()) == 51
