"""When an alert fires, when it is over, and that it says so once."""

import pytest
from msgspec import structs

from backchannel.events import LIVE, Alert
from backchannel_processors.alerting import AlertBook, alert_id
from backchannel_processors.counters import MergeCounters
from backchannel_processors.merge_partition import MergePartition, MergeRules, recount_entry
from backchannel_processors.partials import (
    Bundle,
    Notice,
    Partial,
    Progress,
    open_measures,
    seal_measures,
)
from backchannel_processors.rules import Rules
from backchannel_processors.series import TOLD_MAX
from support.interactions import NOON_US
from support.rules import NOON, SECOND_US, Series, measures, rule_of

RULE = rule_of(
    metric="latency_ms",
    agg="p95",
    threshold=5_000,
    min_samples=3,
    labels={"team": "bots"},
    annotations={"summary": "p95 of {{tenant}} is {{value}}", "evidence": "x = {{tenant}}"},
)
COUNT = rule_of(metric="count", op=">=", threshold=3, min_samples=1)


def test_a_crossed_threshold_fires_once() -> None:
    series = Series(RULE)
    assert series.at(0, 3) == ["firing"]
    fired = series.last
    assert fired is not None
    assert (fired.transition, fired.value, fired.kind) == (1, 6_000.0, "threshold")
    assert (fired.dims, fired.labels) == ({"tenant": "a"}, {"team": "bots"})
    assert (fired.trigger_event_at_us, fired.evaluated_at_us) == (NOON_US, NOON_US)
    assert series.at(1, 1) == []


def test_the_texts_of_an_alert_say_what_was_found() -> None:
    series = Series(RULE)
    series.at(0, 3)
    assert series.last is not None
    assert series.last.annotations == {"summary": "p95 of a is 6.00 s", "evidence": "x = 'a'"}


def test_too_few_samples_never_fire() -> None:
    assert Series(RULE).at(0, 2) == []


def test_a_value_that_is_back_resolves() -> None:
    series = Series(COUNT.model_copy(update={"window_s": 10}))
    assert series.at(0, 3) == ["firing"]
    assert series.at(10, 1) == ["resolved"]
    resolved = series.last
    assert resolved is not None
    assert (resolved.transition, resolved.value, resolved.reason) == (2, 1.0, "clear")
    assert resolved.ends_at_us == NOON_US + 10 * SECOND_US
    assert resolved.starts_at_us == NOON_US


def test_traffic_that_stopped_resolves_without_a_value() -> None:
    series = Series(RULE)
    series.at(0, 3)
    assert series.silent_until(60) == []
    assert series.silent_until(70) == ["resolved"]
    assert series.last is not None
    assert (series.last.value, series.last.sample_count, series.last.reason) == (None, 0, "no_data")


def test_a_trickle_holds_an_alert_for_its_window_and_no_longer() -> None:
    series = Series(RULE)
    series.at(0, 3)
    del series.windows[NOON]
    assert series.at(59, 1) == []
    assert series.at(61, 1) == ["resolved"]


def test_a_rule_with_for_waits() -> None:
    series = Series(rule_of(metric="count", threshold=0, min_samples=1, hold="30s"))
    assert [series.at(second) for second in (0, 15, 29)] == [[], [], []]
    assert series.at(30) == ["firing"]


def test_what_comes_back_in_time_was_never_an_alert() -> None:
    rule = rule_of(metric="count", threshold=1, window="10s", min_samples=1, hold="30s")
    series = Series(rule)
    told = [series.at(second, count) for second, count in ((0, 2), (20, 1), (25, 1), (40, 2))]
    assert told == [[], [], [], []]


def test_an_alert_goes_on_for_as_long_as_its_rule_keeps_it() -> None:
    rule = rule_of(metric="count", threshold=1, window="10s", min_samples=1, keep_firing_for="1m")
    series = Series(rule)
    assert series.at(0, 2) == ["firing"]
    assert [series.at(second) for second in (30, 59)] == [[], []]
    assert series.at(60) == ["resolved"]


def test_between_threshold_and_clear_threshold_nothing_changes() -> None:
    rule = rule_of(
        metric="count", op=">=", threshold=9, clear_threshold=3, window="10s", min_samples=1
    )
    series = Series(rule)
    assert series.at(0, 5) == []
    assert series.at(10, 9) == ["firing"]
    assert series.at(20, 5) == []
    assert series.at(30, 2) == ["resolved"]


def test_an_alert_that_goes_on_and_off_is_held() -> None:
    series = Series(rule_of(metric="count", threshold=1, window="10s", min_samples=1))
    for turn in range(3):
        assert series.at(turn * 20, 2) == ["firing"]
        assert series.at(turn * 20 + 10) == (["resolved"] if turn < 2 else [])
    assert series.alerts[-1].flapping
    assert series.at(200) == []
    assert series.at(341) == ["resolved"]


def test_what_fires_again_goes_on_counting_transitions() -> None:
    series = Series(rule_of(metric="count", threshold=1, window="10s", min_samples=1))
    for second, count in ((0, 2), (10, 1), (20, 2)):
        series.at(second, count)
    assert [alert.transition for alert in series.alerts] == [1, 2, 3]


def test_the_next_owner_goes_on_from_what_was_published() -> None:
    before = Series(RULE)
    before.at(0, 3)
    assert before.last is not None
    heir = Series(RULE)
    heir.book.restore([Alert.model_validate_json(before.last.model_dump_json())])
    heir.book.restored()
    assert heir.at(1, 3) == []
    assert heir.silent_until(100) == ["resolved"]
    assert heir.last is not None
    assert heir.last.transition == 2


def test_the_next_owner_remembers_since_when_an_alert_is_pending() -> None:
    rule = rule_of(metric="count", threshold=0, min_samples=1, hold="30s")
    before, heir = Series(rule), Series(rule)
    before.at(0)
    for key, value in before.book.changes():
        heir.book.restore_entry("memory", key, value)
    assert heir.at(30) == ["firing"]


def test_an_alert_whose_rule_is_gone_is_over() -> None:
    before = Series(RULE)
    before.at(0, 3)
    heir = AlertBook(Rules())
    heir.restore(before.alerts)
    assert [(alert.state, alert.reason) for alert in heir.retire(NOON_US)] == [
        ("resolved", "rule_gone")
    ]
    assert heir.retire(NOON_US) == []


def test_what_the_notifier_raised_is_left_to_the_notifier() -> None:
    series = Series(RULE)
    series.at(0, 3)
    assert series.last is not None
    of_the_notifier = series.last.model_copy(update={"kind": "pipeline", "rule": "pipeline_down"})
    heir = AlertBook(Rules())
    heir.restore([of_the_notifier])
    assert heir.retire(NOON_US) == []


def test_other_rules_end_what_they_are_not_about() -> None:
    series = Series(COUNT)
    series.at(0, 3)
    elsewhere = rule_of(metric="count", threshold=3, where={"tenant": "b"})
    series.book.use(Rules((elsewhere,), "new"))
    (ended,) = series.book.retire(NOON_US)
    assert (ended.rules_hash, ended.transition) == ("new", 2)


def test_the_name_of_an_alert_is_the_same_for_ever() -> None:
    assert alert_id("slow", "tenant", ("a",)) == "26ec0a1ac15ba34ea03527b7cf58c128"
    assert alert_id("slow", "tenant", ("b",)) != alert_id("slow", "tenant", ("a",))


@pytest.mark.parametrize(
    ("metric", "agg", "value"),
    [
        ("latency_ms", "mean", 6_000.0),
        ("latency_ms", "p50", 6_000.0),
        ("latency_tail_ratio", "", 1.0),
        ("error_rate", "", 0.25),
        ("count", "", 4.0),
        ("tokens", "", 400.0),
        ("input_tokens_per_minute", "", 800.0),
        ("output_tokens_per_minute", "", 0.0),
        ("tokens_per_minute", "", 800.0),
        ("tokens_per_turn", "", 100.0),
        ("turns_per_minute", "", 8.0),
    ],
)
def test_each_metric_has_its_unit(metric: str, agg: str, value: float) -> None:
    rule = rule_of(metric=metric, agg=agg, threshold=-1, window="30s", min_samples=1)
    series = Series(rule)
    series.at(0, 4, errors=1, tokens=400)
    assert series.last is not None
    assert series.last.value == value


@pytest.mark.parametrize(("op", "fires"), [(">", 0), (">=", 1), ("<", 0), ("<=", 1)])
def test_the_operator_decides_what_crosses(op: str, fires: int) -> None:
    series = Series(rule_of(metric="count", op=op, threshold=5, min_samples=1))
    assert len(series.at(0, 5)) == fires


def merge_partition() -> MergePartition:
    rules = MergeRules(sources=1, alerts=Rules((RULE,), "hash"))
    return MergePartition(rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US)


def hear(part: MergePartition, *partials: Partial, time_s: int = 0) -> None:
    live = Progress(NOON_US + time_s * SECOND_US, idle=False, ended=False)
    notice = Notice(0, part.next_offset, 0, {LIVE: live})
    part.take(part.next_offset, Bundle(1, list(partials), [notice]), NOON_US)


def slow(offset: int, *, start_s: int = 0, origin: str = LIVE, count: int = 2) -> Partial:
    told = measures(count, at_us=NOON_US + start_s * SECOND_US)
    return Partial(origin, "tenant", ("a",), NOON + start_s, 0, offset, seal_measures(told))


def test_a_rule_looks_at_the_last_minute_not_at_one_window() -> None:
    part = merge_partition()
    hear(part, slow(0, start_s=-50), slow(1, start_s=0))
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [4]


def test_a_rule_does_not_look_further_back() -> None:
    part = merge_partition()
    hear(part, slow(0, start_s=-60), slow(1, start_s=0))
    assert part.alerts(NOON_US) == []


def test_a_replay_raises_no_alert() -> None:
    part = merge_partition()
    hear(part, slow(0, origin="replay:a", count=9))
    assert part.alerts(NOON_US) == []


def test_an_alert_is_over_when_time_goes_on_without_the_traffic() -> None:
    part = merge_partition()
    hear(part, slow(0, count=9))
    assert [alert.state for alert in part.alerts(NOON_US)] == ["firing"]
    hear(part, time_s=60)
    assert part.alerts(NOON_US) == []
    hear(part, time_s=70)
    assert [(alert.state, alert.value) for alert in part.alerts(NOON_US)] == [("resolved", None)]


def in_brief(partial: Partial, *, after: int = -1) -> Partial:
    brief = seal_measures(open_measures(partial.sealed).brief)
    return structs.replace(partial, sealed=brief, is_brief=True, base_offset=after)


def test_rules_look_at_what_came_in_brief() -> None:
    part = merge_partition()
    hear(part, slow(0, count=1), in_brief(slow(1, count=2)), in_brief(slow(2, count=9)))
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [9]


def test_what_is_new_is_added_and_waits_for_what_it_follows_upon() -> None:
    part = merge_partition()
    hear(part, slow(0, count=1), in_brief(slow(3, count=6), after=1))
    assert part.alerts(NOON_US) == []
    hear(part, in_brief(slow(1, count=2), after=0))
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [9]


def test_a_full_state_closes_the_gap_that_something_lost_has_left() -> None:
    part = merge_partition()
    hear(part, slow(0, count=1), in_brief(slow(3, count=6), after=2))
    hear(part, slow(2, count=3))
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [9]


def test_more_than_there_is_room_for_in_brief_waits_for_the_full_state() -> None:
    counters = MergeCounters()
    rules = MergeRules(sources=1, alerts=Rules((RULE,), "hash"))
    part = MergePartition(
        rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US, counters=counters
    )
    hear(part, *(in_brief(slow(n, count=1), after=n - 1) for n in range(TOLD_MAX + 3)))
    assert counters.brief_without_room == 3
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [TOLD_MAX]
    hear(part, slow(TOLD_MAX + 2, count=TOLD_MAX + 3))
    assert counters.received == counters.counted + counters.brief_without_room


def test_what_came_in_brief_survives_a_restart() -> None:
    part, again = merge_partition(), merge_partition()
    hear(part, slow(0, count=1), in_brief(slow(1, count=8), after=0))
    states, meta, _ = part.checkpoint()
    again.restore([*states, meta], NOON_US)
    assert [alert.sample_count for alert in again.alerts(NOON_US)] == [9]


def test_a_repeat_of_what_came_in_brief_takes_nothing_back() -> None:
    part = merge_partition()
    hear(part, slow(0, count=1), in_brief(slow(2, count=9)), in_brief(slow(1, count=2)))
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [9]


def test_a_clock_that_is_ahead_does_not_hide_what_the_others_do() -> None:
    part = merge_partition()
    ahead = measures(1, 1_000, at_us=NOON_US + 60 * SECOND_US)
    hear(
        part,
        slow(0, count=9),
        Partial(LIVE, "tenant", ("a",), NOON + 60, 0, 1, seal_measures(ahead)),
    )
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [9]


def test_the_past_of_a_series_survives_what_lets_go_of_its_windows() -> None:
    rule = rule_of("budget", metric="count", threshold=5, period="day")
    rules = MergeRules(sources=1, alerts=Rules((rule,), "hash"))
    part = MergePartition(rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US)
    hear(part, slow(0, count=2))
    later_us = NOON_US + 600 * SECOND_US
    hear(part, time_s=600)
    for width_s in (10, 60):
        list(part.rows(width_s, later_us))
    states, meta, gone = part.checkpoint()
    heir = MergePartition(rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US)
    heir.restore([*states, meta, *gone], later_us)
    hear(heir, slow(9, start_s=600, count=3), time_s=600)
    assert [(alert.state, alert.value) for alert in heir.alerts(later_us)] == [("firing", 5.0)]


def test_what_was_long_over_when_states_were_rebuilt_is_not_told_again() -> None:
    part, again = merge_partition(), merge_partition()
    part.restore([recount_entry(0, NOON_US + 20 * SECOND_US)], NOON_US)
    hear(part, slow(0, count=9))
    assert part.alerts(NOON_US) == []
    states, meta, _ = part.checkpoint()
    again.restore([*states, meta], NOON_US)
    hear(again, time_s=19)
    assert again.alerts(NOON_US) == []
    hear(again, slow(9, start_s=20, count=3), time_s=21)
    assert [alert.sample_count for alert in again.alerts(NOON_US + 21 * SECOND_US)] == [12]
