"""A source partition that counts anew: from when on, and what it leaves as it was told before."""

import pytest

from backchannel.events import LIVE, Health, encode_event, seal
from backchannel_processors.counters import Counters
from backchannel_processors.source_partition import Record, SourcePartition, recount_entry
from support.interactions import NOON_US, RULES, Told, counted, interaction, record, source, tell

NOON = NOON_US // 1_000_000
SILENCE_S = RULES.conversation_silence_s


def recounting(recount_to: int = 100, counters: Counters | None = None) -> SourcePartition:
    """A partition that counts from noon on."""
    entry = recount_entry(0, recount_to, NOON_US, lateness_s=RULES.lateness_s, silence_s=SILENCE_S)
    part = source(counters=counters)
    part.restore([entry], NOON_US)
    return part


def told(part: SourcePartition) -> Told:
    return tell({}, part.flush(fast_only=False))


def test_windows_begin_with_the_recount_and_those_before_are_left_as_they_were() -> None:
    counters = Counters()
    part = recounting(counters=counters)
    part.take(record(0, [interaction(-0.1), interaction(0), interaction(10)]), NOON_US)

    assert {start for _, start, _, _ in counted(told(part))} == {NOON, NOON + 10}
    assert (counters.counted, counters.late) == (2, 1)


def test_an_event_is_late_when_it_was_late_before() -> None:
    part, before = recounting(), source()
    for each in (part, before):
        each.take(record(0, [interaction(5)]), NOON_US)
        each.take(record(1, [interaction(80)]), NOON_US)
        each.take(record(2, [interaction(6)], broker_s=80), NOON_US)

    late = [told(each)[LIVE, NOON, "", ()][1] for each in (part, before)]
    assert [(each.count, each.late) for each in late] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(("recount_to", "told_of"), [(2, set()), (1, {"replay:a"})])
def test_a_replay_that_was_counted_before_keeps_its_windows(
    recount_to: int, told_of: set[str]
) -> None:
    part = recounting(recount_to)
    part.take(record(0, [interaction(0)]), NOON_US)
    part.take(record(1, [interaction(0)], origin="replay:a", producer="b"), NOON_US)

    assert {origin for origin, *_ in counted(told(part))} - {LIVE} == told_of


@pytest.mark.parametrize(("first_pseq", "dropped"), [(1, 7), (2, 2)])
def test_what_a_producer_had_dropped_before_is_counted_where_it_was(
    first_pseq: int, dropped: int
) -> None:
    part = recounting()
    for offset, total in enumerate((5, 7)):
        event = Health(ts_us=NOON_US + offset, sdk_dropped={"buffer_full": total})
        sealed = seal([encode_event(event)], producer_id="bot", pseq=first_pseq + offset)
        part.take(Record(offset, NOON_US, sealed.value, sealed.headers), NOON_US)

    assert told(part)[LIVE, NOON, "", ()][1].sum("dropped_events") == dropped


@pytest.mark.parametrize(("at_s", "closed", "late"), [(SILENCE_S - 1, 0, 1), (SILENCE_S, 1, 0)])
def test_a_conversation_that_may_have_begun_earlier_is_not_told_but_counted(
    at_s: int, closed: int, late: int
) -> None:
    counters = Counters()
    part = recounting(counters=counters)
    part.take(record(0, [interaction(at_s, conversation_id="c")]), NOON_US)
    part.take(record(1, [interaction(100_000)]), NOON_US)

    assert len(part.closed()) == closed
    assert counters.conversations_late == late


def test_a_restart_in_between_goes_on_with_it() -> None:
    part, again = recounting(2), source()
    part.take(record(0, [interaction(0, conversation_id="c")]), NOON_US)
    states, meta, _ = part.checkpoint()
    again.restore([*states, meta], NOON_US)
    again.take(record(1, [interaction(0)], origin="replay:a", producer="b"), NOON_US)
    again.take(record(2, [interaction(100_000)]), NOON_US)

    assert {origin for origin, *_ in counted(told(again))} == {LIVE}
    assert again.closed() == []
