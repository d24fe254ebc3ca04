"""What merge makes of partials: rows, when they are final, and what a restart keeps."""

from collections.abc import Iterable

import pytest
from msgspec import structs

from backchannel.events import LIVE, WIDTHS_S
from backchannel_processors.alerting import AlertBook
from backchannel_processors.distributions import Distribution
from backchannel_processors.measures import Measures
from backchannel_processors.merge_partition import LONG_S, MergePartition, MergeRules
from backchannel_processors.partials import (
    Bundle,
    Notice,
    Partial,
    Progress,
    open_measures,
    seal_measures,
)
from backchannel_processors.rows import Row
from backchannel_processors.rules import Rules
from backchannel_processors.source_partition import BASE_S
from backchannel_processors.states import Entry
from support.interactions import NOON_US

NOON = NOON_US // 1_000_000
MINUTE = NOON - NOON % 60 + 60
RULES = MergeRules(sources=2, alerts=Rules())


def empty(rules: MergeRules = RULES) -> MergePartition:
    return MergePartition(rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US)


def partial(
    last_offset: int, count: int, *, source: int = 0, start: int = MINUTE, origin: str = LIVE
) -> Partial:
    measures = Measures(sums={"count": count})
    measures.distributions["latency"] = Distribution.of([10] * count)
    return Partial(origin, "tenant", ("a",), start, source, last_offset, seal_measures(measures))


def notice(
    source: int, at: int, *, next_offset: int = 1_000, replay: Progress | None = None
) -> Notice:
    origins = {LIVE: Progress(at * 1_000_000, idle=False, ended=False)}
    return Notice(source, next_offset, 0, origins | ({"replay:a": replay} if replay else {}))


def take(part: MergePartition, *told: Partial | Notice, now_us: int = NOON_US) -> None:
    partials = [each for each in told if isinstance(each, Partial)]
    notices = [each for each in told if isinstance(each, Notice)]
    part.take(part.next_offset, Bundle(1, partials, notices), now_us)


def one(rows: Iterable[Row]) -> Row:
    found = list(rows)
    assert len(found) == 1
    return found[0]


def write(part: MergePartition, log: list[Entry]) -> None:
    list(part.rows(BASE_S, NOON_US)), list(part.rows(LONG_S, NOON_US))
    states, meta, gone = part.checkpoint()
    log += [*states, meta, *gone]


def test_a_row_is_the_sum_over_all_sources() -> None:
    part = empty()
    take(part, partial(3, 5, source=0), partial(7, 6, source=1))
    row = one(part.rows(BASE_S, NOON_US))
    assert (row.count, row.latency_sum_us, row.latency_p95_us) == (11, 110, 10)
    assert row.dims == {"tenant": "a"}
    assert not row.final


def test_a_newer_state_replaces_an_older_one_and_a_repeat_nothing() -> None:
    part = empty()
    take(part, partial(3, 5), partial(9, 8), partial(3, 5))
    assert one(part.rows(BASE_S, NOON_US)).count == 8
    take(part, partial(9, 8))
    assert not list(part.rows(BASE_S, NOON_US))


def test_what_comes_in_brief_is_in_no_row_until_all_of_it_has_come() -> None:
    part = empty()
    brief = structs.replace(partial(9, 8), is_brief=True)
    take(part, partial(3, 5), brief)
    assert one(part.rows(BASE_S, NOON_US)).count == 5
    take(part, structs.replace(brief, last_offset=10))
    assert not list(part.rows(BASE_S, NOON_US))
    take(part, partial(10, 9))
    assert one(part.rows(BASE_S, NOON_US)).count == 9


def test_the_revision_rises_with_every_change() -> None:
    part = empty()
    revisions = []
    for each in (partial(3, 5), partial(4, 6), partial(0, 1, source=1)):
        take(part, each)
        revisions.append(one(part.rows(BASE_S, NOON_US)).revision)
    assert revisions == sorted(set(revisions))


def test_a_minute_is_the_sum_of_its_six_windows() -> None:
    part = empty()
    take(part, *(partial(n, n + 1, start=MINUTE + 10 * n) for n in range(6)))
    row = one(part.rows(LONG_S, NOON_US))
    assert (row.window_start, row.window_s, row.count) == (MINUTE, 60, 21)


def test_a_window_is_final_when_every_source_has_passed_it() -> None:
    part = empty()
    take(part, partial(3, 5))
    before = one(part.rows(BASE_S, NOON_US))
    take(part, notice(0, MINUTE + 70))
    assert not list(part.finals(NOON_US))
    take(part, notice(1, MINUTE + 70))
    row = one(part.finals(NOON_US))
    assert row.final
    assert row.complete
    assert row.revision > before.revision


def test_what_comes_when_a_window_is_final_changes_it_still() -> None:
    part = empty()
    take(part, partial(3, 5), partial(3, 5, source=1))
    take(part, notice(0, MINUTE + 70), notice(1, MINUTE + 70))
    assert one(part.finals(NOON_US)).count == 10
    take(part, partial(4, 7))
    assert one(part.rows(BASE_S, NOON_US)).count == 12
    take(part, partial(5, 8, source=1))
    assert one(part.rows(BASE_S, NOON_US)).count == 15


def test_a_minute_is_final_only_when_its_last_window_is() -> None:
    part = empty()
    take(part, partial(3, 5), notice(0, MINUTE + 70), notice(1, MINUTE + 70))
    assert [row.window_s for row in part.finals(NOON_US)] == [10]
    take(part, notice(0, MINUTE + 120), notice(1, MINUTE + 120))
    assert 60 in [row.window_s for row in part.finals(NOON_US)]


def test_a_source_without_owner_holds_a_window_for_five_minutes() -> None:
    part = empty()
    take(part, partial(3, 5), notice(0, MINUTE + 70))
    take(part, notice(0, MINUTE + 71), now_us=NOON_US + 299_000_000)
    assert not list(part.finals(NOON_US + 299_000_000))
    row = one(part.finals(NOON_US + 301_000_000))
    assert row.final
    assert not row.complete


def test_a_source_that_comes_back_completes_the_row() -> None:
    part = empty()
    take(part, partial(3, 5), notice(0, MINUTE + 70))
    take(part, notice(0, MINUTE + 71), now_us=NOON_US + 301_000_000)
    incomplete = one(part.finals(NOON_US + 301_000_000))
    take(part, notice(1, MINUTE + 70), now_us=NOON_US + 302_000_000)
    row = one(part.finals(NOON_US + 302_000_000))
    assert row.complete
    assert row.revision > incomplete.revision


def test_a_window_without_room_for_all_series_is_not_complete() -> None:
    part = empty()
    marked = Notice(0, 9, 0, {}, [(LIVE, "tenant", MINUTE)])
    take(part, partial(3, 5), marked)
    assert not one(part.rows(BASE_S, NOON_US)).complete
    assert not one(part.rows(LONG_S, NOON_US)).complete


def test_a_late_event_changes_a_closed_window_in_late_alone() -> None:
    part = empty()
    take(part, partial(3, 5), notice(0, MINUTE + 120), notice(1, MINUTE + 120))
    final = next(iter(part.finals(NOON_US)))
    measures = open_measures(partial(20, 5).sealed)
    measures.sums["late"] = 2
    take(part, structs.replace(partial(20, 5), sealed=seal_measures(measures)))
    row = one(part.rows(BASE_S, NOON_US))
    assert (row.count, row.late, row.final) == (5, 2, True)
    assert row.revision > final.revision


def test_a_replay_is_final_when_all_its_sources_are_idle_and_the_others_have_none_of_it() -> None:
    part = empty()
    idle = Progress((MINUTE + 5) * 1_000_000, idle=True, ended=False)
    take(part, partial(3, 5, origin="replay:a"), notice(0, MINUTE, replay=idle))
    take(part, notice(1, MINUTE))
    assert not list(part.finals(NOON_US))
    read = Notice(1, 1_000, NOON_US + 10_000_000, notice(1, MINUTE).origins)
    take(part, read)
    assert {row.window_s for row in part.finals(NOON_US) if row.final} == set(WIDTHS_S)


def test_a_replay_that_goes_on_after_a_pause_goes_on_counting() -> None:
    part = empty()
    idle = Progress((MINUTE + 5) * 1_000_000, idle=True, ended=False)
    for source in (0, 1):
        take(part, notice(source, MINUTE, replay=idle))
    take(part, partial(3, 5, origin="replay:a"))
    final = next(row for row in part.finals(NOON_US) if row.window_s == 10)
    take(part, partial(4, 6, origin="replay:a"))
    row = one(part.rows(BASE_S, NOON_US))
    assert row.count == 6
    assert row.revision > final.revision


def test_a_restart_keeps_the_states() -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(3, 5), notice(0, MINUTE + 30))
    write(part, log)
    again = empty()
    again.restore(log, NOON_US)
    take(again, partial(4, 6, source=1))
    assert again.next_offset == 2
    assert one(again.rows(BASE_S, NOON_US)).count == 11


def test_states_ahead_of_the_checkpoint_are_told_only_when_the_rest_has_caught_up() -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(3, 5))
    states, _, _ = part.checkpoint()
    again = empty()
    again.restore(states, NOON_US)
    assert not list(again.rows(BASE_S, NOON_US))
    take(again, partial(3, 5))
    assert one(again.rows(BASE_S, NOON_US)).count == 5
    assert log == []


def test_what_is_taken_while_a_checkpoint_is_written_counts_once() -> None:
    part, again = empty(), empty()
    take(part, partial(3, 5), partial(3, 1, source=1))
    states, meta, gone = part.checkpoint()
    take(part, partial(4, 7, source=1))
    again.restore([*states, meta, *gone], NOON_US)
    assert again.next_offset == 1
    assert not list(again.rows(BASE_S, NOON_US)), "a sum that is of no point in the log"
    take(again, partial(4, 7, source=1))
    assert one(again.rows(BASE_S, NOON_US)) == one(part.rows(BASE_S, NOON_US))


@pytest.mark.parametrize(("untold", "is_let_go"), [(MINUTE, False), (MINUTE + 180, True)])
def test_a_window_is_let_go_of_when_its_own_rows_were_told(untold: int, *, is_let_go: bool) -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(3, 5))
    write(part, log)
    take(part, partial(4, 6, start=untold))
    take(part, notice(0, MINUTE + 241), notice(1, MINUTE + 241))
    _, _, gone = part.checkpoint()
    assert bool(gone) == is_let_go


def test_a_forgotten_window_takes_nothing_more() -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(3, 5), notice(0, MINUTE + 241), notice(1, MINUTE + 241))
    list(part.finals(NOON_US))
    write(part, log)
    take(part, partial(9, 9))
    assert not list(part.rows(BASE_S, NOON_US))
    assert log[-1][1] is None


def test_an_older_notice_does_not_turn_time_back() -> None:
    part = empty()
    take(part, partial(3, 5), notice(0, MINUTE + 70), notice(1, MINUTE + 70))
    assert one(part.finals(NOON_US)).final
    take(part, notice(0, MINUTE, next_offset=1))
    take(part, partial(4, 6))
    assert one(part.rows(BASE_S, NOON_US)).final


DAY = NOON - NOON % 86_400 + 86_400


def let_go(part: MergePartition, log: list[Entry], at: int) -> None:
    """Time passes for all sources, everything is told and written."""
    take(part, notice(0, at, next_offset=at), notice(1, at, next_offset=at))
    for width_s in WIDTHS_S:
        list(part.rows(width_s, NOON_US))
    list(part.finals(NOON_US))
    write(part, log)


def counts(part: MergePartition, offset: int = 999) -> dict[int, int]:
    """Has the day told again, and returns the counts of its windows by width."""
    take(part, partial(offset, 1, start=DAY + 86_390, source=1))
    rows = [row for width_s in WIDTHS_S[2:] for row in part.rows(width_s, NOON_US)]
    return {row.window_s: row.count for row in rows}


def test_longer_windows_are_sums_of_what_is_held_and_what_was_let_go() -> None:
    part, log = empty(), list[Entry]()
    for hour in range(3):
        take(part, partial(hour, hour + 1, start=DAY + 3_600 * hour))
        let_go(part, log, DAY + 3_600 * (hour + 1))
    assert counts(part) == {300: 1, 3_600: 1, 86_400: 1 + 2 + 3 + 1}


def test_a_day_is_told_with_all_its_parts_when_it_is_final() -> None:
    part, log, told = empty(), list[Entry](), list[Row]()
    for hour in range(24):
        take(part, partial(hour, 1, start=DAY + 3_600 * hour))
        let_go(part, log, DAY + 3_600 * hour + 1_800)
    take(part, *(notice(n, DAY + 90_000, next_offset=DAY + 90_000) for n in (0, 1)))
    told += part.finals(NOON_US)
    (day,) = [row for row in told if row.window_s == 86_400]
    assert (day.count, day.final, day.complete) == (24, True, True)
    assert day.latency_buckets == {106: 24}


@pytest.mark.parametrize("tombstones", [0, 1, 100])
def test_a_crash_while_windows_are_let_go_counts_nothing_twice(tombstones: int) -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(1, 5, start=DAY), partial(1, 7, start=DAY + 10))
    write(part, log)
    take(part, *(notice(n, DAY + 4_000, next_offset=2_000) for n in (0, 1)))
    list(part.finals(NOON_US))
    for width_s in WIDTHS_S:
        list(part.rows(width_s, NOON_US))
    states, meta, gone = part.checkpoint()
    again = empty()
    again.restore([*log, *states, meta, *gone[:tombstones]], NOON_US)
    assert counts(again)[86_400] == 5 + 7 + 1
    let_go(again, log, DAY + 8_000)
    assert counts(again, 1_000)[86_400] == 5 + 7 + 1


def test_an_incomplete_part_makes_every_longer_window_incomplete() -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(3, 5, start=DAY), Notice(0, 9, 0, {}, [(LIVE, "tenant", DAY)]))
    let_go(part, log, DAY + 4_000)
    take(part, partial(4, 5, start=DAY + 4_000))
    assert not one(part.rows(86_400, NOON_US)).complete


def test_what_was_let_go_is_off_the_changelog() -> None:
    part, log = empty(), list[Entry]()
    take(part, partial(3, 5, start=DAY))
    let_go(part, log, DAY + 100_000)
    kept = {key for key, value in log if value is not None} - {
        key for key, value in log if value is None
    }
    assert not [key for key in kept if key.startswith((b'["part"', b'["long"'))]
