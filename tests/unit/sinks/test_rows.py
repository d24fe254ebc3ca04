"""From records to rows: stamped lines as they are, all others judged, nothing twice."""

import json
from typing import Any
from zlib import crc32

import pytest

from backchannel.events import (
    CONVERSATION_SCHEMA,
    AgentReport,
    Alert,
    ClosedConversation,
    Content,
    DeadLetter,
    Health,
    Interaction,
    Tombstone,
    Window,
    encode_event,
    seal,
    seal_report,
)
from backchannel_sinks.block import Block
from backchannel_sinks.numbers import ProducerNumbers
from backchannel_sinks.records import Place, Record
from backchannel_sinks.rows import (
    alert_rows,
    content_rows,
    dead_letter_rows,
    event_rows,
    window_rows,
)
from backchannel_sinks.tombstones import Tombstones

LINE = encode_event(Interaction(user_id="u-1", input_tokens=3))
Headers = tuple[tuple[str, bytes], ...]


def record(offset: int, value: bytes | None, headers: Headers = ()) -> Record:
    return Record(offset, 1_700_000_000_123, value, headers)


def stamped(offset: int, pseq: int, *lines: bytes) -> Record:
    batch = seal(lines, producer_id="p-1", pseq=pseq, origin="replay:r")
    return record(offset, batch.value, batch.headers)


def block(*records: Record, topic: str = "chat.events") -> Block:
    return Block(Place(topic, 4), 17, records)


def crc_of(value: bytes) -> bytes:
    return b"%08x" % crc32(value)


def rows_of(parts: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(part) for part in parts]


def test_a_stamped_line_gets_its_coordinates_in_front_and_stays_as_it_is() -> None:
    rows = event_rows(block(stamped(7, 1, LINE, LINE)), ProducerNumbers())

    assert all(part.endswith(LINE[1:]) for part in rows.parts)
    assert [(row["_offset"], row["_line"], row["_pseq"]) for row in rows_of(rows.parts)] == [
        (7, 0, 1),
        (7, 1, 1),
    ]
    first = rows_of(rows.parts)[0]
    assert (first["_partition"], first["_epoch"], first["_origin"]) == (4, 17, "replay:r")
    assert first["_broker_time"] == 1_700_000_000.123


def test_a_record_that_came_before_is_a_repeat() -> None:
    numbers = ProducerNumbers([("p-1", 4)])
    rows = event_rows(block(stamped(7, 4, LINE, LINE), stamped(8, 5, LINE)), numbers)

    assert (rows.lines, rows.duplicate, rows.stored, rows.lost_records) == (3, 2, 1, 0)


def test_a_repeat_within_a_block_is_one_too_and_the_memory_is_left_alone() -> None:
    numbers = ProducerNumbers()
    again = block(stamped(7, 1, LINE), stamped(8, 1, LINE))

    assert event_rows(again, numbers).duplicate == 1
    assert event_rows(again, numbers).duplicate == 1, "built again, it is built the same"


def test_a_jump_in_the_numbers_is_a_loss() -> None:
    rows = event_rows(block(stamped(7, 1, LINE), stamped(8, 5, LINE)), ProducerNumbers())

    assert (rows.stored, rows.lost_records) == (2, 3)


def test_the_columns_of_a_block_are_those_of_its_events_and_their_place() -> None:
    health = encode_event(Health(cpu=1))
    rows = event_rows(block(stamped(7, 1, LINE), record(8, health)), ProducerNumbers())

    assert {name for row in rows_of(rows.parts) for name in row} <= set(rows.columns)
    assert "cpu" in rows.columns
    assert "tool_name" not in rows.columns


def test_lines_that_do_not_begin_with_their_type_may_have_any_column() -> None:
    turned = b'{"event_id":"x","event_type":"interaction"}'
    for lines in ([turned], [LINE, turned], [LINE, b'{"event_type":"of_tomorrow"}']):
        rows = event_rows(block(stamped(7, 1, *lines)), ProducerNumbers())
        assert (rows.stored, rows.columns) == (len(lines), ())


def test_many_types_that_nobody_knows_cost_no_more_than_one() -> None:
    lines = [b'{"event_type":"t%d"}' % number for number in range(40_000)]
    rows = event_rows(block(stamped(7, 1, *lines)), ProducerNumbers())

    assert (rows.stored, rows.event_types) == (40_000, {b""})


def test_an_unstamped_record_is_judged_line_by_line() -> None:
    raw = record(7, b"\n".join([LINE, b"oops", LINE[:-1] + b',"of_tomorrow":1}']))
    rows = event_rows(block(raw), ProducerNumbers())

    assert (rows.lines, rows.stored, rows.unknown_fields) == (3, 2, 1)
    assert [row["_line"] for row in rows_of(rows.parts)] == [0, 2]
    assert "of_tomorrow" not in rows_of(rows.parts)[1]
    [letter] = rows.dead
    assert (letter.partition, letter.offset, letter.line, letter.value) == (4, 7, 1, b"oops")
    assert letter.reason.startswith("not JSON")


def test_a_key_that_stands_twice_reaches_clickhouse_once() -> None:
    rows = event_rows(block(record(7, LINE[:-1] + b',"user_id":"last"}')), ProducerNumbers())

    assert rows.parts[0].count(b'"user_id"') == 1
    assert rows_of(rows.parts)[0]["user_id"] == "last"


@pytest.mark.parametrize("value", [None, b""])
def test_a_record_without_a_line_is_a_dead_letter(value: bytes | None) -> None:
    rows = event_rows(block(record(7, value)), ProducerNumbers())

    assert (rows.lines, rows.stored, len(rows.dead)) == (1, 0, 1)


def test_a_stamped_line_that_is_no_object_is_judged_after_all() -> None:
    rows = event_rows(block(stamped(7, 1, b"[]", LINE)), ProducerNumbers())

    assert (rows.stored, len(rows.dead)) == (1, 1)


def test_a_block_that_clickhouse_refused_is_judged_whole() -> None:
    bad = LINE.replace(b":3", b':"3"')
    rows = event_rows(block(stamped(7, 1, LINE, bad)), ProducerNumbers(), judge_all=True)

    assert (rows.stored, [letter.line for letter in rows.dead]) == (1, [1])


WINDOW = Window(
    origin="live",
    grouping="tenant",
    dims={"tenant": "acme"},
    window_s=10,
    window_start=1_700_000_000,
    revision=4,
    final=False,
    complete=True,
    count=1,
    errors=0,
    input_tokens=3,
    output_tokens=4,
    latency_count=1,
    latency_sum_us=5,
    latency_min_us=5,
    latency_max_us=5,
    latency_mean_us=5,
    latency_p50_us=5,
    latency_p90_us=5,
    latency_p95_us=5,
    latency_p99_us=5,
    latency_buckets={74: 1},
    newest_event_at_us=1_700_000_000_000_000,
    published_at_us=1_700_000_000_000_000,
)
CLOSED = ClosedConversation(
    origin="live",
    tenant_id="acme",
    conversation_id="c",
    segment="e-1",
    revision=3,
    outcome="answered",
    started_at_us=1_700_000_000_000_000,
    last_at_us=1_700_000_001_000_000,
    closed_at_us=1_700_001_801_000_000,
    duration_us=1_000_000,
    turns=2,
    errors=0,
    fallbacks=0,
    input_tokens=3,
    output_tokens=4,
    cost_picousd=0,
    unpriced=2,
    last_status="ok",
    last_event_id="e-2",
    sample_weight=1,
)
ALERT = Alert(
    alert_id="a",
    transition=1,
    rule="r",
    rules_hash="h",
    state="firing",
    severity="error",
    origin="live",
    grouping="tenant",
    dims={"tenant": "acme"},
    metric="latency",
    op=">",
    threshold=1,
    value=2,
    sample_count=30,
    window_s=60,
    window_end_us=1,
    starts_at_us=1,
    trigger_event_at_us=1,
    evaluated_at_us=1,
)


def test_windows_that_nobody_stamped_are_read_and_what_is_none_is_dead() -> None:
    raw = record(7, WINDOW.model_dump_json().encode() + b"\n{}")
    rows = window_rows(block(raw, topic="chat.metrics"), ProducerNumbers())

    assert rows_of(rows.parts)[0]["latency_buckets"] == {"74": 1}
    assert [letter.line for letter in rows.dead] == [1]
    assert rows.dead[0].reason.startswith("not a window: origin: ")


def test_an_alert_is_a_row_and_one_that_was_taken_back_is_none() -> None:
    good, gone = record(7, ALERT.model_dump_json().encode()), record(8, None)
    rows = alert_rows(block(good, gone, topic="chat.alerts"), ProducerNumbers())

    assert rows_of(rows.parts)[0]["alert_id"] == "a"
    assert (rows.lines, rows.dead) == (1, [])


def test_an_alert_of_a_later_major_version_is_dead() -> None:
    later = record(7, ALERT.model_dump_json().encode(), (("schema", b"2.0"),))

    assert len(alert_rows(block(later, topic="chat.alerts"), ProducerNumbers()).dead) == 1


def test_a_dead_letter_keeps_its_origin_and_shows_bytes_as_text() -> None:
    letter = DeadLetter("chat.events", 3, 9, 1, "why", "sink", 5, b"\xff{")
    rows = dead_letter_rows(
        block(record(0, letter.value, letter.headers()), topic="chat.dead"), ProducerNumbers()
    )

    [row] = rows_of(rows.parts)
    assert (row["topic"], row["partition"], row["offset"], row["line"]) == ("chat.events", 3, 9, 1)
    assert (row["value"], row["value_bytes"]) == ("\\xff{", 2)


def test_a_record_that_is_no_dead_letter_is_kept_under_its_own_coordinates() -> None:
    rows = dead_letter_rows(block(record(6, b"?"), topic="chat.dead"), ProducerNumbers())

    assert not rows.dead
    assert rows_of(rows.parts)[0]["topic"] == "chat.dead"


CONTENT = (
    Content(event_id="01a1fe24-c686-73b6-9bc9-1533d37b547f", ts_us=1, part="prompt", text="hello")
    .model_dump_json()
    .encode()
)


def test_stamped_content_stays_as_it_is() -> None:
    rows = content_rows(block(stamped(7, 1, CONTENT, CONTENT)), ProducerNumbers())

    assert all(part.endswith(CONTENT[1:]) for part in rows.parts)
    assert [(row["_offset"], row["_line"], row["text"]) for row in rows_of(rows.parts)] == [
        (7, 0, "hello"),
        (7, 1, "hello"),
    ]


def test_what_is_no_content_is_a_dead_letter_that_does_not_repeat_it() -> None:
    rows = content_rows(block(record(7, CONTENT + b'\n{"text":"secret"}')), ProducerNumbers())

    assert (rows.lines, rows.stored) == (2, 1)
    (letter,) = rows.dead
    assert (letter.line, letter.value) == (1, b"")
    assert "secret" not in letter.reason


def test_content_of_another_version_is_refused() -> None:
    rows = content_rows(block(record(7, CONTENT, (("schema", b"2.0"),))), ProducerNumbers())

    assert (rows.stored, len(rows.dead)) == (0, 1)


def test_closed_conversations_go_into_a_table_of_their_own() -> None:
    line = CLOSED.model_dump_json().encode()
    window = WINDOW.model_dump_json().encode()
    told = record(7, line + b"\n" + b"{}", (("kind", b"conversation.closed"),))
    rows = window_rows(block(told, record(8, window), topic="chat.metrics"), ProducerNumbers())
    assert [table for table, _ in rows.bodies("metric_windows")] == [
        "metric_windows",
        "conversations",
    ]
    [row] = rows_of(rows.beside["conversations"])
    assert (row["conversation_id"], row["_offset"], row["_line"]) == ("c", 7, 0)
    assert (rows.lines, rows.stored, len(rows.dead)) == (3, 2, 1)


def test_closed_conversations_of_our_own_are_taken_as_they_are() -> None:
    line = b'{"kind":"conversation.closed","of_our_own":1}'
    checked = (("schema", CONVERSATION_SCHEMA.encode()), ("count", b"1"), ("crc32", crc_of(line)))
    told = record(7, line, (*checked, ("kind", b"conversation.closed")))
    [part] = window_rows(block(told), ProducerNumbers()).beside["conversations"]
    assert part.endswith(line[1:])


def test_what_agents_say_of_themselves_is_of_no_tenant() -> None:
    report = AgentReport(agent="sink", process="s", at_us=1, received=1, processed=1)
    sealed = seal_report(report)
    told = record(7, sealed.value, sealed.headers)
    rows = window_rows(block(told, topic="chat.metrics"), ProducerNumbers())
    asked = Tombstone(erasure_id="e", subject="tenant", keys=("default",), requested_at_us=2)
    rows.leave_out(Tombstones([asked]))
    [row] = rows_of(rows.beside["agents"])
    assert (row["agent"], rows.stored, rows.erased) == ("sink", 1, 0)


def test_a_conversation_of_somebody_who_was_erased_is_left_out() -> None:
    told = record(7, CLOSED.model_dump_json().encode(), (("kind", b"conversation.closed"),))
    rows = window_rows(block(told), ProducerNumbers())
    at_us = CLOSED.started_at_us
    asked = Tombstone(erasure_id="e", subject="conversation", keys=("c",), requested_at_us=at_us)
    rows.leave_out(Tombstones([asked]))
    assert (rows.stored, rows.erased) == (0, 1)
