"""What the stream says of conversations is what SQL finds in their events."""

from random import Random
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Event, Feedback, Interaction, encode_event, seal
from backchannel_processors import source_partition
from backchannel_processors.conversations import seal_closed
from backchannel_processors.counters import Counters
from backchannel_processors.source_partition import SourcePartition
from backchannel_sinks.records import Record
from support.interactions import RULES
from support.rows_of_events import insert_events, rows, store_metrics

pytestmark = pytest.mark.integration

NOW_US = SYSTEM_CLOCK.now_us() // 10_000_000 * 10_000_000
SAME = (
    "tenant, conversation_id, started_at, last_at, turns, tokens, errors, fallbacks, last_status,"
    " outcome, round(duration_s, 2) AS duration_s"
)


def some_events(chance: Random) -> list[Event]:
    made: list[Event] = []
    for number in range(300):
        said: dict[str, Any] = {
            "ts_us": NOW_US + number * 1_000_000,
            "tenant_id": chance.choice("ab"),
            "conversation_id": f"c{chance.randrange(40)}",
        }
        turn = {
            "status": chance.choice(("ok", "ok", "ok", "error", "cancelled", "timeout")),
            "duration_us": chance.choice((400_000, 2_000_000, 11_000_000)),
            "input_tokens": chance.randrange(900),
            "output_tokens": chance.randrange(90),
            "fallback_used": chance.random() < 0.1,
        }
        made.append(Interaction.model_validate(said | turn))
        if chance.random() < 0.1:
            opinion = {"kind": chance.choice(("escalated", "task_completed", "thumb"))}
            value = {"value": chance.choice((0, 1_000_000))}
            made.append(Feedback.model_validate(said | opinion | value))
    return made


def closed(events: list[Event]) -> Record:
    """The record with all conversations of some events, as the stream closes them."""
    part = SourcePartition(0, RULES, Counters(), next_offset=0, now_us=NOW_US)
    for offset, batch in enumerate(events[n : n + 20] for n in range(0, len(events), 20)):
        sealed = seal([encode_event(each) for each in batch], producer_id="b", pseq=offset + 1)
        told = source_partition.Record(offset, batch[-1].ts_us, sealed.value, sealed.headers)
        part.take(told, NOW_US)
    part.declare_read(part.next_offset, NOW_US + 7_200_000_000)
    found = seal_closed(part.closed())
    return Record(0, NOW_US // 1_000, found.value, found.headers)


def test_the_stream_and_the_events_tell_the_same_conversations(analyst: Client) -> None:
    events = some_events(Random(3))
    insert_events(analyst, events, broker_us=NOW_US)
    store_metrics(analyst, closed(events))
    ordered = f"SELECT {SAME} FROM %s ORDER BY tenant, conversation_id"
    told = rows(analyst, ordered % "v_closed_conversations")
    assert len(told) > 50
    assert {each["outcome"] for each in told} >= {"escalated", "errored", "abandoned", "answered"}
    assert told == rows(analyst, ordered % "v_conversations")


def test_a_conversation_that_is_told_again_stands_once(analyst: Client) -> None:
    record = closed([Interaction(ts_us=NOW_US, conversation_id="c")])
    for offset in range(2):
        again = Record(offset, record.broker_time_ms, record.value, record.headers)
        store_metrics(analyst, again)
    (row,) = rows(analyst, "SELECT turns, tokens, cost_usd FROM v_closed_conversations")
    assert row["turns"] == 1
