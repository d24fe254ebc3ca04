"""Where an event is counted: windows, lateness, duplicates, clamping, bounds; and after a crash."""

from dataclasses import replace

import pytest

from backchannel.events import Marker, encode_event, seal
from backchannel_processors.counters import Counters
from backchannel_processors.errors import StateError
from backchannel_processors.measures import OTHER
from backchannel_processors.partials import open_measures
from backchannel_processors.source_partition import Record, SourcePartition
from support.interactions import (
    NOON_US,
    RULES,
    Changelog,
    counted,
    interaction,
    record,
    source,
    tell,
)

NOON = NOON_US // 1_000_000
ALL = ("", ())


def test_an_event_counts_once_in_every_grouping() -> None:
    part = source()
    part.take(record(0, [interaction(3, tenant_id="a", endpoint="/c", model="m")]), NOON_US)
    assert dict(counted(tell({}, part.flush(fast_only=False)))) == {
        ("live", NOON, "", ()): 1,
        ("live", NOON, "tenant", ("a",)): 1,
        ("live", NOON, "tenant,endpoint,model", ("a", "/c", "m")): 1,
    }


def test_a_window_begins_with_its_start_and_ends_before_the_next_one() -> None:
    part = source()
    part.take(record(0, [interaction(0), interaction(9.999_999), interaction(10)]), NOON_US)
    told = tell({}, part.flush(fast_only=False))
    assert told["live", NOON, *ALL][1].count == 2
    assert told["live", NOON + 10, *ALL][1].count == 1


def test_a_weighted_event_counts_as_often_as_it_stands_for() -> None:
    part = source()
    event = interaction(sample_weight=10, input_tokens=3, status="error", error_type="oops")
    part.take(record(0, [event]), NOON_US)
    measures = tell({}, part.flush(fast_only=False))["live", NOON, *ALL][1]
    assert (measures.count, measures.errors, measures.input_tokens) == (10, 10, 30)
    assert measures.labels("errors_by_type") == {"oops": 10}
    assert sum(measures.latency_buckets.values()) == 10


def test_cancelled_and_blocked_are_no_errors() -> None:
    part = source()
    statuses = ("ok", "cancelled", "blocked", "error", "timeout", "rate_limited")
    part.take(record(0, [interaction(status=status) for status in statuses]), NOON_US)
    measures = tell({}, part.flush(fast_only=False))["live", NOON, *ALL][1]
    assert measures.labels("errors_by_type") == {"error": 1, "timeout": 1, "rate_limited": 1}


def test_an_event_of_a_closed_window_counts_as_late_and_as_nothing_else() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(0)]), NOON_US)
    part.take(record(1, [interaction(70)]), NOON_US)
    part.take(record(2, [interaction(5)], broker_s=70), NOON_US)
    measures = tell({}, part.flush(fast_only=False))["live", NOON, *ALL][1]
    assert (measures.count, measures.late) == (1, 1)
    assert (counters.counted, counters.late, counters.balance()) == (2, 1, 0)


def test_a_late_event_counts_on_a_window_that_rests() -> None:
    part = source()
    part.take(record(0, [interaction(0, user_id="u")]), NOON_US)
    part.take(record(1, [interaction(70)]), NOON_US)
    told = tell({}, part.flush(fast_only=False))
    assert list(part.rest())
    assert not list(part.rest())  # it does already
    part.take(record(2, [interaction(5)], broker_s=70), NOON_US)
    measures = tell(told, part.flush(fast_only=False))["live", NOON, *ALL][1]
    assert (measures.count, measures.late) == (1, 1)
    assert measures.distinct["users"].estimate == 1


def test_a_late_event_does_not_open_its_window_again() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(100)]), NOON_US)
    part.take(record(1, [interaction(5)], broker_s=100), NOON_US)
    assert ("live", NOON, *ALL) not in tell({}, part.flush(fast_only=False))
    assert counters.late == 1


def test_lines_of_one_record_never_make_each_other_late() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(600), interaction(0)]), NOON_US)
    assert (counters.counted, counters.late) == (2, 0)


def test_a_record_that_was_seen_counts_as_duplicate() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(), interaction()], pseq=1), NOON_US)
    part.take(record(1, [interaction(), interaction()], pseq=1), NOON_US)
    assert (counters.counted, counters.duplicate, counters.balance()) == (2, 2, 0)


def test_a_jump_in_the_numbers_of_a_producer_is_a_loss() -> None:
    counters = Counters()
    part = source(counters=counters)
    for offset, pseq in enumerate((1, 2, 5)):
        part.take(record(offset, [interaction()], pseq=pseq), NOON_US)
    assert counters.lost_records == 2


def test_without_a_number_an_event_id_counts_once() -> None:
    counters = Counters()
    part = source(counters=counters)
    line = encode_event(interaction())
    for offset in range(2):
        part.take(Record(offset, NOON_US, line + b"\n" + line, ()), NOON_US)
    assert (counters.counted, counters.duplicate, counters.balance()) == (1, 3, 0)


@pytest.mark.parametrize("ahead_s", [61, -86_401])
def test_an_impossible_clock_counts_in_the_window_of_the_broker(ahead_s: int) -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(ahead_s)], broker_s=0), NOON_US)
    assert tell({}, part.flush(fast_only=False))["live", NOON, *ALL][1].count == 1
    assert (counters.counted, counters.clamped) == (1, 1)


def test_a_clock_that_is_ahead_makes_nobody_late() -> None:
    counters = Counters()
    part = source(replace(RULES, lateness_s=0), counters)
    part.take(record(0, [interaction(60)], broker_s=0), NOON_US)
    part.take(record(1, [interaction(1)], broker_s=1), NOON_US)
    assert (counters.counted, counters.late) == (2, 0)


def test_a_replay_has_windows_and_a_time_of_its_own() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(1_000_000)]), NOON_US)
    part.take(record(1, [interaction(0)], origin="replay:a"), NOON_US)
    part.take(record(2, [interaction(0)], origin="replay:b"), NOON_US)
    told = tell({}, part.flush(fast_only=False))
    assert told["replay:a", NOON, *ALL][1].count == told["replay:b", NOON, *ALL][1].count == 1
    assert counters.late == 0


def test_types_without_measures_are_counted_as_such_and_move_time() -> None:
    counters = Counters()
    part = source(counters=counters)
    marker = Marker(kind="deploy", ts_us=NOON_US + 100_000_000)
    sealed = seal([encode_event(marker)], producer_id="p", pseq=1)
    part.take(Record(0, marker.ts_us, sealed.value, sealed.headers), NOON_US)
    part.take(record(1, [interaction(0)], broker_s=100), NOON_US)
    assert (counters.not_measured, counters.late, counters.balance()) == (1, 1, 0)


@pytest.mark.parametrize("value", [None, b"", b"not json", b'{"event_type":"interaction"}\n[]'])
def test_what_is_no_event_is_counted_as_rejected(value: bytes | None) -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(Record(0, NOON_US, value, ()), NOON_US)
    assert counters.rejected == counters.received > 0
    assert part.first_reason


def test_a_stamped_line_that_is_no_event_is_rejected_alone() -> None:
    counters = Counters()
    part = source(counters=counters)
    sealed = seal([encode_event(interaction()), b'{"ts_us":"x"}'], producer_id="p", pseq=1)
    part.take(Record(0, NOON_US, sealed.value, sealed.headers), NOON_US)
    assert (counters.counted, counters.rejected, counters.balance()) == (1, 1, 0)


@pytest.mark.parametrize("field", [b'"tenant_id":"%b"' % (b"x" * 300), b'"sample_weight":0'])
def test_a_stamped_line_beyond_the_bounds_of_the_contract_is_rejected(field: bytes) -> None:
    counters = Counters()
    part = source(counters=counters)
    line = encode_event(interaction())[:-1] + b"," + field + b"}"
    sealed = seal([line], producer_id="p", pseq=1)
    part.take(Record(0, NOON_US, sealed.value, sealed.headers), NOON_US)
    assert (counters.rejected, counters.balance()) == (1, 0)


def test_beyond_the_bound_series_count_under_other_and_the_tenant_stays_whole() -> None:
    part = source(replace(RULES, cells_max=2))
    events = [interaction(tenant_id="a", model=str(model)) for model in range(5)]
    part.take(record(0, events), NOON_US)
    told = tell({}, part.flush(fast_only=False))
    notice = part.notice()
    assert told["live", NOON, "tenant", ("a",)][1].count == 5
    assert told["live", NOON, "tenant,endpoint,model", ("a", OTHER, OTHER)][1].count == 3
    assert notice is not None
    assert notice.incomplete == [("live", "tenant,endpoint,model", NOON)]


def test_what_an_alert_rule_watches_leaves_first() -> None:
    part = source(replace(RULES, fast=frozenset(("tenant",))))
    part.take(record(0, [interaction()]), NOON_US)
    part.take(record(1, [interaction()], origin="replay:a"), NOON_US)
    fast = part.flush(fast_only=True)
    assert [(each.origin, each.grouping, each.is_brief) for each in fast] == [
        ("live", "tenant", True)
    ]
    assert not list(part.flush(fast_only=True))
    assert [each.is_brief for each in part.flush(fast_only=False)] == [False] * 6


def ahead(part: SourcePartition) -> list[tuple[int, int, int]]:
    """What is told ahead: after which offset, up to which one, and how many turns."""
    told = part.flush(fast_only=True)
    return [(p.base_offset, p.last_offset, open_measures(p.sealed).count) for p in told]


def test_only_what_is_new_is_told_ahead() -> None:
    part = source(replace(RULES, fast=frozenset(("tenant",))))
    part.take(record(0, [interaction()] * 3), NOON_US)
    assert ahead(part) == [(-1, 0, 3)]
    part.take(record(1, [interaction()]), NOON_US)
    part.take(record(2, [interaction()]), NOON_US)
    assert ahead(part) == [(0, 2, 2)]


def test_what_is_told_ahead_has_a_cut_where_a_full_state_ends() -> None:
    part = source(replace(RULES, fast=frozenset(("tenant",))))
    for offset in range(4):
        part.take(record(offset, [interaction()]), NOON_US)
        if offset in (0, 2):
            list(part.flush(fast_only=offset == 0))
    assert ahead(part) == [(0, 2, 2), (2, 3, 1)]


def test_what_nobody_watched_for_a_while_is_told_whole() -> None:
    part = source(replace(RULES, fast=frozenset(("tenant",))))
    for offset, watched in enumerate(("tenant", "", "tenant")):
        part.watch(frozenset((watched,)), ())
        part.take(record(offset, [interaction()]), NOON_US)
        told = ahead(part)
    assert told == [(-1, 2, 3)]


def test_of_many_events_all_of_a_series_is_told_ahead() -> None:
    part = source(replace(RULES, fast=frozenset(("",))))
    part.take(record(0, [interaction()]), NOON_US)
    assert ahead(part) == [(-1, 0, 1)]
    part.take(record(1, [interaction(tenant_id=f"t{n}") for n in range(5_001)]), NOON_US)
    assert ahead(part) == [(-1, 1, 5_002)]


def test_what_was_told_is_not_told_again() -> None:
    part = source()
    part.take(record(0, [interaction()]), NOON_US)
    assert list(part.flush(fast_only=False))
    assert not list(part.flush(fast_only=False))
    assert part.notice() is not None
    assert part.notice() is None


def test_time_stands_still_while_records_wait() -> None:
    part = source()
    part.take(record(0, [interaction()]), NOON_US)
    assert not part.declare_read(end_offset=2, asked_us=NOON_US + 3_600_000_000)
    notice = part.notice()
    assert notice is not None
    assert notice.origins["live"].watermark_us == NOON_US


def test_a_silent_partition_follows_the_wall_clock() -> None:
    part = source()
    part.take(record(0, [interaction()]), NOON_US)
    assert not part.declare_read(end_offset=1, asked_us=NOON_US + 9_000_000)
    assert part.declare_read(end_offset=1, asked_us=NOON_US + 11_000_000)
    notice = part.notice()
    assert notice is not None
    assert notice.origins["live"].watermark_us == NOON_US + 11_000_000


def test_a_silent_replay_is_idle_and_goes_on_where_it_was() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(0)], origin="replay:a"), NOON_US)
    part.declare_read(end_offset=1, asked_us=NOON_US + 60_000_000)
    notice = part.notice()
    part.take(record(1, [interaction(1)], origin="replay:a"), NOON_US + 61_000_000)
    assert notice is not None
    assert notice.origins["replay:a"].idle
    assert (counters.counted, counters.late) == (2, 0)


def test_a_replay_that_was_silent_for_an_hour_is_over() -> None:
    counters = Counters()
    part = source(counters=counters)
    part.take(record(0, [interaction(0)], origin="replay:a"), NOON_US)
    assert part.declare_read(end_offset=1, asked_us=NOON_US + 3_601_000_000)
    part.take(record(1, [interaction(1)], origin="replay:a"), NOON_US + 3_602_000_000)
    assert (counters.counted, counters.late) == (1, 1)


def test_a_restart_goes_on_where_the_checkpoint_was() -> None:
    part, changelog = source(), Changelog()
    part.take(record(0, [interaction()]), NOON_US)
    list(part.flush(fast_only=False))
    changelog.write(part)
    again = source()
    again.restore(changelog.entries, NOON_US)
    again.take(record(1, [interaction()]), NOON_US)
    last_offset, measures = tell({}, again.flush(fast_only=False))["live", NOON, *ALL]
    assert (last_offset, measures.count) == (1, 2)


def test_after_a_crash_between_states_and_meta_nothing_counts_twice() -> None:
    part, changelog = source(), Changelog()
    part.take(record(0, [interaction()]), NOON_US)
    part.take(record(1, [interaction()]), NOON_US)
    changelog.write(part, steps=1)
    again = source()
    again.restore(changelog.entries, NOON_US)
    assert again.next_offset == 0
    assert not list(again.flush(fast_only=False))
    again.take(record(0, [interaction()]), NOON_US)
    assert not list(again.flush(fast_only=False))
    again.take(record(1, [interaction()]), NOON_US)
    assert tell({}, again.flush(fast_only=False))["live", NOON, *ALL][1].count == 2


def test_of_two_writes_the_higher_offset_counts_not_the_later_one() -> None:
    part, changelog = source(), Changelog()
    part.take(record(0, [interaction()]), NOON_US)
    changelog.write(part)
    frozen = list(changelog.entries)
    part.take(record(1, [interaction()]), NOON_US)
    changelog.write(part)
    again = source()
    again.restore([*changelog.entries, *frozen], NOON_US)
    assert again.next_offset == 2
    assert tell({}, again.flush(fast_only=False))["live", NOON, *ALL][1].count == 2


def test_a_forgotten_window_is_taken_off_the_changelog_and_stays_forgotten() -> None:
    part, changelog = source(), Changelog()
    part.take(record(0, [interaction(0)]), NOON_US)
    changelog.write(part)
    frozen = list(changelog.entries)
    part.take(record(1, [interaction(1_000)]), NOON_US)
    list(part.flush(fast_only=False))
    changelog.write(part)
    again = source()
    again.restore([*changelog.entries, *frozen], NOON_US)
    told = tell({}, again.flush(fast_only=False))
    assert any(value is None for _, value in changelog.entries)
    assert {start for _, start, _, _ in told} == {NOON + 1_000}


def test_nothing_is_forgotten_before_it_was_told() -> None:
    part = source()
    part.take(record(0, [interaction(0)]), NOON_US)
    part.take(record(1, [interaction(1_000)]), NOON_US)
    _, _, gone = part.checkpoint()
    assert not list(gone)
    assert tell({}, part.flush(fast_only=False))["live", NOON, *ALL][1].count == 1


def test_a_state_of_another_version_says_how_to_rebuild() -> None:
    entries = [(b'["meta"]', b'{"v":1}')]
    with pytest.raises(StateError, match="rebuild"):
        source().restore(entries, NOON_US)
