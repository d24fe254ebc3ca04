"""A conversation is added up turn by turn, closed by silence, and told once."""

from dataclasses import replace
from typing import Any

import pytest

from backchannel.events import ClosedConversation, Event, Feedback, encode_event, seal
from backchannel_processors.conversations import ClosedRow, Limit, seal_closed
from backchannel_processors.counters import Counters
from backchannel_processors.measures import Measures
from backchannel_processors.source_partition import Record, SourcePartition
from support.interactions import NOON_US, RULES, Changelog, interaction, record, source, tell

SILENCE_S = 1_800
LIMITED = replace(RULES, limits=(Limit("tokens", 4_000),))


def turn(at_s: float, **fields: Any) -> Event:
    return interaction(at_s, **{"conversation_id": "c", **fields})


def feedback(at_s: float, kind: str, value: int = 1_000_000) -> Event:
    at_us = NOON_US + round(at_s * 1_000_000)
    said = {"ts_us": at_us, "conversation_id": "c", "kind": kind, "value": value}
    return Feedback.model_validate(said)


def takes(part: SourcePartition, *events: Event) -> list[ClosedRow]:
    """Takes each event in a record of its own; returns what is closed by them."""
    for event in events:
        offset = part.next_offset
        sealed = seal([encode_event(event)], producer_id="bot", pseq=offset + 1)
        part.take(Record(offset, event.ts_us, sealed.value, sealed.headers), event.ts_us)
    return part.closed()


def closed_after(*events: Event) -> ClosedRow:
    (row,) = takes(source(), *events, interaction(100_000))
    return row


def test_a_conversation_is_the_sum_of_its_turns() -> None:
    first = turn(0, input_tokens=10, output_tokens=5, cost_picousd=7)
    last = turn(60, input_tokens=20, status="error", fallback_used=True, duration_us=2_000_000)
    row = closed_after(first, last)
    assert (row.turns, row.input_tokens, row.output_tokens, row.cost_picousd) == (2, 30, 5, 7)
    assert (row.errors, row.fallbacks, row.unpriced) == (1, 1, 1)
    assert (row.segment, row.last_event_id, row.last_status) == (
        first.event_id,
        last.event_id,
        "error",
    )
    assert (row.started_at_us, row.duration_us) == (NOON_US, 62_000_000)


def test_it_is_closed_half_an_hour_after_its_last_turn_and_not_before() -> None:
    part = source()
    assert takes(part, turn(0), turn(600), interaction(600 + SILENCE_S - 1)) == []
    (row,) = takes(part, interaction(600 + SILENCE_S))
    assert row.closed_at_us == NOON_US + (600 + SILENCE_S) * 1_000_000


def test_silence_is_counted_by_the_wall_clock_once_everything_is_read() -> None:
    part = source()
    takes(part, turn(0))
    part.declare_read(1, NOON_US + (SILENCE_S - 1) * 1_000_000)
    assert part.closed() == []
    part.declare_read(1, NOON_US + SILENCE_S * 1_000_000)
    assert len(part.closed()) == 1


def test_feedback_keeps_it_open() -> None:
    part = source()
    assert takes(part, turn(0), feedback(1_700, "thumb"), interaction(SILENCE_S + 60)) == []


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([turn(0)], "answered"),
        ([turn(0, status="timeout")], "errored"),
        ([turn(0, status="error"), turn(1)], "answered"),
        ([turn(0, status="cancelled")], "abandoned"),
        ([turn(0, duration_us=10_000_001)], "abandoned"),
        ([turn(0, status="error"), feedback(1, "task_completed")], "completed"),
        ([turn(0), feedback(1, "task_completed", 0)], "answered"),
        ([turn(0), feedback(1, "task_completed"), feedback(2, "escalated")], "escalated"),
    ],
)
def test_how_it_ended(events: list[Event], outcome: str) -> None:
    assert closed_after(*events).outcome == outcome


def test_turns_out_of_order_make_the_same_conversation() -> None:
    early, late = turn(0), turn(30, status="error")
    row = closed_after(late, early)
    assert (row.started_at_us, row.last_status, row.turns) == (NOON_US, "error", 2)


def test_what_goes_on_after_a_silence_is_another_segment() -> None:
    again = turn(SILENCE_S)
    part = source()
    (first,) = takes(part, turn(0), again)
    (second,) = takes(part, interaction(100_000))
    assert (first.turns, second.turns) == (1, 1)
    assert first.segment != second.segment == again.event_id


def test_a_turn_of_a_closed_conversation_is_counted_as_late_and_opens_none() -> None:
    counters = Counters()
    part = source(replace(RULES, behind_s=10**6), counters)
    takes(part, turn(0), interaction(SILENCE_S + 10))
    assert takes(part, turn(5), interaction(100_000)) == []
    assert counters.conversations_late == 1


def test_the_same_id_of_two_tenants_is_two_conversations() -> None:
    rows = takes(source(), turn(0, tenant_id="a"), turn(0, tenant_id="b"), interaction(100_000))
    assert sorted(row.tenant_id for row in rows) == ["a", "b"]


def test_beyond_the_bound_a_new_one_is_counted_and_not_followed() -> None:
    counters = Counters()
    part = source(replace(RULES, conversations_max=2), counters)
    turns = [turn(0, conversation_id=name) for name in "abcc"]
    assert len(takes(part, *turns, interaction(100_000))) == 2
    assert counters.conversations_without_room == 2


def test_a_replay_has_conversations_of_its_own() -> None:
    part = source()
    event = interaction(0, conversation_id="c")
    part.take(record(0, [event], origin="live"), NOON_US)
    part.take(record(1, [event], origin="replay:a"), NOON_US)
    part.take(record(2, [interaction(100_000)], origin="replay:a"), NOON_US)
    assert [row.origin for row in part.closed()] == ["replay:a"]


def test_a_closed_conversation_stands_on_the_topic_as_the_contract_says() -> None:
    row = closed_after(turn(0))
    sealed = seal_closed([row])
    assert ClosedConversation.model_validate_json(sealed.value).outcome == "answered"
    assert dict(sealed.headers)["kind"] == b"conversation.closed"
    assert ClosedRow.__struct_fields__ == tuple(ClosedConversation.model_fields)


def test_one_that_was_told_is_taken_off_the_changelog() -> None:
    part, changelog = source(), Changelog()
    takes(part, turn(0))
    list(part.flush(fast_only=False))
    changelog.write(part)
    takes(part, interaction(100_000))
    list(part.flush(fast_only=False))
    changelog.write(part)
    assert [key for key, value in changelog.entries if value is None and b"conversation" in key]


def test_one_that_was_closed_and_not_taken_off_is_told_again_the_same() -> None:
    part, changelog = source(), Changelog()
    takes(part, turn(0))
    changelog.write(part)
    told = takes(part, interaction(100_000))
    changelog.write(part, steps=2)
    heir = source()
    heir.restore(changelog.entries, NOON_US)
    assert heir.closed() == told
    assert heir.has_news


# -- limits ------------------------------------------------------------------------------------


def over(part: SourcePartition) -> dict[int, Measures]:
    """The windows of everything together in which a conversation went over a limit."""
    return {
        (start - NOON_US // 1_000_000): measures
        for (_, start, grouping, _), (_, measures) in tell({}, part.flush(fast_only=False)).items()
        if grouping == "" and measures.labels("conversations_over")
    }


def test_the_turn_by_which_it_goes_over_a_limit_counts_once() -> None:
    part = source(LIMITED)
    crossing = turn(20, input_tokens=1)
    takes(part, turn(0, input_tokens=4_000), crossing, turn(40, input_tokens=9_000))
    ((start, measures),) = over(part).items()
    assert (start, measures.labels("conversations_over")) == (20, {"tokens:4000": 1})
    assert measures.exemplars["over:tokens:4000"] == [(4_001, crossing.event_id)]


def test_a_turn_that_is_late_for_its_window_leaves_the_crossing_to_the_next_one() -> None:
    part = source(LIMITED)
    takes(part, turn(0), interaction(300), turn(10, input_tokens=5_000), turn(300))
    assert list(over(part)) == [300]


def test_the_limits_count_for_all_groupings_of_the_turn() -> None:
    part = source(LIMITED)
    takes(part, turn(0, tenant_id="a", model="m", input_tokens=5_000))
    told = tell({}, part.flush(fast_only=False))
    series = {(g, d) for (_, _, g, d), (_, m) in told.items() if m.labels("conversations_over")}
    assert series == {("", ()), ("tenant", ("a",)), ("tenant,endpoint,model", ("a", "", "m"))}


@pytest.mark.parametrize("written", [b'["conversation"', b'["cell"'])
def test_a_crossing_counts_once_whichever_state_was_written_before_a_kill(written: bytes) -> None:
    part, changelog = source(LIMITED), Changelog()
    crossing = record(0, [interaction(0, conversation_id="c", input_tokens=5_000)])
    part.take(crossing, NOON_US)
    first, _, _ = part.checkpoint()
    changelog.entries += [entry for entry in first if entry[0].startswith(written)]
    heir = source(LIMITED)
    heir.restore(changelog.entries, NOON_US)
    heir.take(crossing, NOON_US)
    assert over(heir)[0].labels("conversations_over") == {"tokens:4000": 1}
