"""A replay through the real producer, with its in-memory transport in Kafka's place."""

from collections import Counter
from pathlib import Path

import pytest

from backchannel import MemoryTransport, Producer
from backchannel.events import Health, Interaction, encode_event, open_batch
from backchannel_deploy.replay.pace import Pace, plan_pace
from backchannel_deploy.replay.publish import publish
from backchannel_deploy.replay.source import Due, replayed_events
from support.trace import Trace, write_trace


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return write_trace(tmp_path / "trace.csv", rows=2_000)


def pace_of(trace: Trace, *, speed: float = 0, keep_times: bool = True) -> Pace:
    return plan_pace(
        first_ts_us=trace.first_us,
        last_ts_us=trace.last_us,
        speed=speed,
        start_us=1_800_000_000_000_000,
        keep_times=keep_times,
    )


async def test_every_row_arrives_once_with_its_own_numbers(trace: Trace) -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, origin="replay:x") as producer:
        outcome = await publish(producer, replayed_events(trace.path, pace_of(trace), seed=1))

    events = [event for event in transport.events() if isinstance(event, Interaction)]
    assert (outcome.sent, outcome.acknowledged) == (trace.count, trace.count)
    assert len(events) == trace.count
    assert sum(event.input_tokens for event in events) == trace.input_tokens
    assert sum(event.output_tokens for event in events) == trace.output_tokens
    assert {event.seq for event in events} == set(range(1, trace.count + 1))


async def test_every_record_says_which_replay_it_is_of(trace: Trace) -> None:
    transport = MemoryTransport()
    async with Producer(transport=transport, origin="replay:x") as producer:
        await publish(producer, replayed_events(trace.path, pace_of(trace), seed=1))

    origins = {
        open_batch(record.value, record.headers).origin
        for records in transport.records
        for record in records
    }
    assert origins == {"replay:x"}


async def test_it_waits_for_a_slow_broker_and_loses_nothing(trace: Trace) -> None:
    transport = MemoryTransport()
    transport.delay_s = 0.02
    events = replayed_events(trace.path, pace_of(trace), seed=1)
    async with Producer(transport=transport, buffer_bytes_max=1_000_000) as producer:
        outcome = await publish(producer, events)
        dropped = producer.stats().dropped

    assert outcome.acknowledged == trace.count
    assert not any(dropped.values())


async def test_it_gives_up_when_nobody_answers_and_says_what_is_missing(trace: Trace) -> None:
    transport = MemoryTransport()
    transport.away = True
    events = replayed_events(trace.path, pace_of(trace), seed=1)
    producer = Producer(transport=transport)
    outcome = await publish(producer, events, patience_s=0.2)
    await producer.close(timeout=0)

    assert outcome.acknowledged == 0
    assert outcome.sent == trace.count


async def test_events_are_published_at_their_pace() -> None:
    told: list[int] = []
    due = [Due(Interaction(), due_us) for due_us in (0, 60_000, 120_000)]
    async with Producer(transport=MemoryTransport()) as producer:
        outcome = await publish(producer, due, tell=told.append)

    assert outcome.seconds >= 0.12
    assert told[-1] == 3


def test_recorded_events_keep_everything_but_time_and_number(tmp_path: Path) -> None:
    recorded = Interaction(ts_us=1_000_000, producer_id="p", seq=9, tenant_id="acme", tags=("a",))
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_event(recorded))

    (due,) = replayed_events(path, Pace(1_000_000, 5_000_000, 0), seed=1)

    expected = recorded.model_copy(update={"ts_us": 6_000_000, "producer_id": "", "seq": 0})
    assert due.event == expected


def test_the_last_number_of_the_recorded_producer_is_not_said_of_the_replays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(encode_event(Health(producer_id="p", seq=9, final_seq=9, sdk_offered=9)))

    (due,) = replayed_events(path, Pace(0, 0, 0), seed=1)

    assert isinstance(due.event, Health)
    assert (due.event.final_seq, due.event.sdk_offered) == (None, 9)


def test_bad_rows_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n1970-01-01,1,1\nx\n1970-01-02,1,1\n")

    events = [due.event for due in replayed_events(path, Pace(0, 0, 0), seed=1)]

    assert Counter(type(event) for event in events) == {Interaction: 2}
