"""At the bound: refuse the newest, give up the oldest, or spill to disk; and who is told."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backchannel import MemoryTransport, Producer, SettingsError
from backchannel.events import Health, Interaction
from backchannel.events.topics import PARTITIONS
from backchannel.sending.intake import Intake
from backchannel.shaping.stamps import Stamps

KB = 1024


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  # what is waited for happens in another thread
            await asyncio.sleep(0.005)


def spilling(transport: MemoryTransport, directory: Path, **settings: Any) -> Producer:
    settings = {"buffer_bytes_max": 64 * KB, "linger_ms": 1, **settings}
    return Producer(
        transport=transport, on_full="spill", spill_directory=str(directory), **settings
    )


async def track_slowly(producer: Producer, count: int, text: str = "") -> int:
    """As a bot does: with a look at the loop now and then."""
    taken = 0
    for number in range(count):
        taken += producer.track(
            Interaction(conversation_id=f"c{number % 7}", turn=number + 1, error_message=text)
        )
        if number % 50 == 49:
            await asyncio.sleep(0.06)
    return taken


async def test_drop_oldest_keeps_the_newest_events() -> None:
    transport = MemoryTransport()
    transport.away = True
    async with Producer(
        transport=transport, buffer_bytes_max=64 * KB, on_full="drop_oldest"
    ) as producer:
        assert all(producer.track(Interaction()) for _ in range(1_000))
        stats = producer.stats()
        assert stats.held_bytes <= 64 * KB
        assert stats.dropped == {"displaced": 1_000 - stats.held}
        transport.away = False

    seqs = sorted(event.seq for event in transport.events())
    assert seqs == list(range(1_001 - len(seqs), 1_001))


async def test_drop_oldest_sends_all_that_it_held_when_the_broker_comes_late() -> None:
    # More than lanes may take at once, and all of them are idle.
    transport = MemoryTransport()
    transport.away = True
    async with Producer(
        transport=transport, buffer_bytes_max=1024 * KB, on_full="drop_oldest"
    ) as producer:
        assert all(producer.track(Interaction()) for _ in range(2_000))
        transport.away = False
        assert await producer.flush(5) == 0

    assert [event.seq for event in transport.events()] == list(range(1, 2_001))


async def test_drop_oldest_gives_up_nothing_that_is_on_its_way() -> None:
    transport = MemoryTransport(1)
    async with Producer(
        transport=transport, buffer_bytes_max=64 * KB, on_full="drop_oldest", batch_bytes_max=2 * KB
    ) as producer:
        producer.track(Interaction())
        assert await producer.flush(2) == 0
        transport.away = True
        for _ in range(40):
            for _ in range(50):
                producer.track(Interaction())
            await asyncio.sleep(0.002)
        assert producer.stats().dropped.keys() == {"displaced"}
        transport.away = False

    seqs = [event.seq for event in transport.events()]
    assert seqs == sorted(seqs)
    assert seqs[-1] == 2_001
    assert seqs[1] == 2  # the batch that was under way


async def test_spill_loses_nothing_in_an_outage_larger_than_memory(tmp_path: Path) -> None:
    transport = MemoryTransport()
    async with spilling(transport, tmp_path) as producer:
        transport.away = True
        assert await track_slowly(producer, 1_200) == 1_200
        stats = producer.stats()
        assert stats.spilled > 900
        assert stats.held == 1_200
        assert stats.held_bytes <= 64 * KB
        transport.away = False
        assert await producer.flush(10) == 0

    assert sorted(event.seq for event in transport.events()) == list(range(1, 1_201))
    for number in range(7):
        turns = [e.turn for e in transport.events() if e.conversation_id == f"c{number}"]
        assert turns == list(range(number + 1, 1_201, 7))
    assert producer.stats().dropped == {}
    assert os.listdir(tmp_path) == ["partitions"] or not os.listdir(tmp_path)


async def test_spill_works_before_a_broker_was_ever_there(tmp_path: Path) -> None:
    transport = MemoryTransport(PARTITIONS)
    transport.away = True
    producer = spilling(transport, tmp_path)
    producer.start()
    assert await track_slowly(producer, 500) == 500
    transport.away = False

    assert await producer.close() == 0
    assert len(transport.events()) == 500


async def test_pseq_stays_gap_free_over_disk_and_memory(tmp_path: Path) -> None:
    transport = MemoryTransport()
    async with spilling(transport, tmp_path) as producer:
        for away in (True, False, True, False):
            transport.away = away
            await track_slowly(producer, 300)

    for records in transport.records:
        numbers = [int(dict(record.headers)["pseq"]) for record in records]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_at_the_bound_of_the_disk_new_events_are_refused_and_counted(tmp_path: Path) -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = spilling(transport, tmp_path, spill_bytes_max=1024 * KB, buffer_bytes_max=512 * KB)
    producer.start()
    offered = 1_200
    taken = await track_slowly(producer, offered, text="x" * 2_000)

    stats = producer.stats()
    assert stats.dropped == {"buffer_full": offered - taken}
    assert 512 * KB < stats.spill_bytes <= 1024 * KB
    transport.away = False
    assert await producer.close() == 0
    assert len(transport.events()) == taken


async def test_a_disk_that_fails_loses_nothing_that_memory_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    transport = MemoryTransport()
    transport.away = True
    producer = spilling(transport, tmp_path)
    producer.start()
    taken = await track_slowly(producer, 500)
    stats = producer.stats()
    assert stats.spilled == 0 < stats.spill_failures
    assert stats.dropped == {"buffer_full": 500 - taken}
    transport.away = False

    assert await producer.close() == 0
    assert len(transport.events()) == taken
    assert caplog.text.count("spill directory cannot be used") == 1


async def test_what_close_cannot_deliver_is_left_to_the_next_process(tmp_path: Path) -> None:
    transport = MemoryTransport()
    transport.away = True
    producer = spilling(transport, tmp_path, health_interval_s=15)
    for _ in range(10):
        producer.track(Interaction())
    assert await producer.close(0.5) == 0
    assert producer.stats().spilled == producer.stats().held == 11
    transport.away = False

    async with spilling(transport, tmp_path) as heir:
        await until(lambda: heir.stats().recovered == 11)

    events = transport.events()
    assert {event.producer_id for event in events} == {producer.stats().producer_id}
    assert [e.final_seq for e in events if isinstance(e, Health)] == [11]
    assert heir.stats().offered == 0


KILLED = """
import os, signal, sys, time
from backchannel import MemoryTransport, Producer
from backchannel.events import Interaction
transport = MemoryTransport()
transport.away = True
producer = Producer(
    transport=transport, on_full="spill", spill_directory=sys.argv[1], buffer_bytes_max=65536
)
producer.start()
while producer.stats().spilled < 500:
    producer.track(Interaction(conversation_id="c"))
    time.sleep(0.0005)
print(producer.stats().producer_id, producer.stats().spilled, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_what_was_spilled_survives_sigkill_and_keeps_its_producer_and_seq(
    tmp_path: Path,
) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    producer_id, spilled = done.stdout.split()
    transport = MemoryTransport()

    async with spilling(transport, tmp_path) as heir:
        heir.track(Interaction(conversation_id="c"))
        await until(lambda: heir.stats().recovered >= int(spilled))

    *old, new = transport.events()
    assert [event.seq for event in old] == list(range(1, len(old) + 1))  # before anything newer
    assert {event.producer_id for event in old} == {producer_id} != {new.producer_id}


async def test_two_processes_share_a_directory(tmp_path: Path) -> None:
    transports = [MemoryTransport(), MemoryTransport()]
    producers = [spilling(each, tmp_path) for each in transports]
    for each in transports:
        each.away = True
    for producer in producers:
        producer.start()
        assert await track_slowly(producer, 500) == 500
    for each in transports:
        each.away = False

    for producer, transport in zip(producers, transports, strict=True):
        assert await producer.close() == 0
        assert len(transport.events()) == 500


def test_spill_needs_a_directory_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SettingsError, match="needs spill_directory"):
        Producer("a:1", on_full="spill")
    with pytest.raises(SettingsError, match="spill_directory cannot be made"):
        Producer("a:1", on_full="spill", spill_directory=str(tmp_path / "file" / "x"))
    with pytest.raises(SettingsError, match="on_full must be one of"):
        Producer("a:1", on_full="block")


async def test_on_drop_is_told_every_reason_and_count_from_another_thread() -> None:
    told: Counter[str] = Counter()
    threads: set[str] = set()

    def on_drop(reason: str, count: int) -> None:
        told[reason] += count
        threads.add(threading.current_thread().name)

    transport = MemoryTransport()
    transport.away = True
    nothing: Any = None
    producer = Producer(transport=transport, buffer_bytes_max=64 * KB, on_drop=on_drop)
    for _ in range(1_000):
        producer.track(Interaction())
    producer.track(nothing)
    await producer.close(0.2)

    assert told == producer.stats().dropped
    assert told.keys() == {"buffer_full", "invalid", "unsent"}
    assert threads == {"backchannel-on-drop"}


@pytest.mark.parametrize("failing", [True, False], ids=["raises", "never returns"])
async def test_an_on_drop_that_misbehaves_holds_up_nobody(failing: bool) -> None:
    release = threading.Event()
    calls: list[str] = []

    def on_drop(reason: str, count: int) -> None:
        calls.append(reason)
        if failing:
            raise ZeroDivisionError
        release.wait(10)

    transport = MemoryTransport()
    nothing: Any = None
    producer = Producer(transport=transport, on_drop=on_drop)
    producer.start()
    producer.track(nothing)
    await until(lambda: len(calls) == 1)
    began = time.monotonic()
    producer.track(Interaction())

    assert await producer.flush(2) == 0
    assert await producer.close(2) == 0
    assert time.monotonic() - began < 2
    release.set()


async def test_on_drop_is_called_at_most_once_a_second_for_a_reason() -> None:
    calls: list[int] = []
    nothing: Any = None
    async with Producer(
        transport=MemoryTransport(), on_drop=lambda _, count: calls.append(count)
    ) as producer:
        for _ in range(250):
            producer.track(nothing)
            await asyncio.sleep(0.005)

    assert sum(calls) == 250
    assert len(calls) <= 3


def test_a_sender_that_outlives_the_end_finds_nothing_more_to_take() -> None:
    intake = Intake("p", 10_000)
    intake.offer(Interaction(), Stamps.none())
    intake.abandon()

    assert not intake.take(10)
    assert intake.taken == intake.accepted == 1
