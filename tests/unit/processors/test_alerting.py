"""When an alert fires, when it is over, and that it says so once."""

from dataclasses import replace

import pytest

from backchannel.events import LIVE, Alert, bucket_of
from backchannel_processors.alerting import AlertBook, Span, alert_id, measure
from backchannel_processors.measures import Measures
from backchannel_processors.merge_partition import MergePartition, MergeRules
from backchannel_processors.partials import Bundle, Notice, Partial, Progress
from backchannel_processors.rules import Rule, Rules
from support.interactions import NOON_US

NOON = NOON_US // 1_000_000
RULE = Rule(
    name="slow",
    metric="latency_ms",
    agg="p95",
    threshold=5_000.0,
    min_samples=3,
    summary="slow",
    labels={"team": "bots"},
)


def span(count: int, latency_us: int = 6_000_000, *, errors: int = 0, end_s: int = 10) -> Span:
    measures = Measures(
        count=count,
        errors=errors,
        input_tokens=count * 100,
        output_tokens=count * 10,
        latency_count=count,
        latency_sum_us=count * latency_us,
        latency_min_us=latency_us,
        latency_max_us=latency_us,
        newest_event_at_us=NOON_US,
        latency_buckets={bucket_of(latency_us): count} if count else {},
    )
    return Span("tenant", ("a",), NOON_US + end_s * 1_000_000, measures)


def book(*rules: Rule) -> AlertBook:
    return AlertBook(Rules(rules or (RULE,), "hash"))


def test_a_crossed_threshold_fires_once() -> None:
    alerts = book()
    fired = alerts.decide(RULE, span(3), NOON_US + 5)
    assert fired is not None
    assert (fired.state, fired.transition, fired.value) == ("firing", 1, 6_000.0)
    assert (fired.dims, fired.labels) == ({"tenant": "a"}, {"team": "bots"})
    assert (fired.trigger_event_at_us, fired.evaluated_at_us) == (NOON_US, NOON_US + 5)
    assert alerts.decide(RULE, span(4), NOON_US) is None


def test_too_few_samples_never_fire() -> None:
    assert book().decide(RULE, span(2), NOON_US) is None


def test_a_value_that_is_back_resolves() -> None:
    alerts = book()
    fired = alerts.decide(RULE, span(3), NOON_US)
    resolved = alerts.decide(RULE, span(9, 1_000), NOON_US + 9)
    assert fired is not None
    assert resolved is not None
    assert (resolved.state, resolved.transition, resolved.value) == ("resolved", 2, 1.0)
    assert (resolved.alert_id, resolved.ends_at_us) == (fired.alert_id, NOON_US + 9)
    assert resolved.starts_at_us == fired.starts_at_us


def test_traffic_that_stopped_resolves_without_a_value() -> None:
    alerts = book()
    alerts.decide(RULE, span(3), NOON_US)
    resolved = alerts.decide(RULE, span(0), NOON_US)
    assert resolved is not None
    assert (resolved.state, resolved.value, resolved.sample_count) == ("resolved", None, 0)


def test_a_trickle_holds_an_alert_for_its_window_and_no_longer() -> None:
    alerts = book()
    alerts.decide(RULE, span(3, end_s=10), NOON_US)
    assert alerts.decide(RULE, span(1, end_s=60), NOON_US) is None
    resolved = alerts.decide(RULE, span(1, end_s=70), NOON_US)
    assert resolved is not None
    assert resolved.state == "resolved"


def test_what_fires_again_goes_on_counting_transitions() -> None:
    alerts = book()
    spans = (span(3), span(3, 1_000), span(3))
    decided = [alerts.decide(RULE, each, NOON_US) for each in spans]
    assert [alert.transition for alert in decided if alert] == [1, 2, 3]


def test_the_next_owner_goes_on_from_what_was_published() -> None:
    fired = book().decide(RULE, span(3), NOON_US)
    assert fired is not None
    heir = book()
    heir.restore([Alert.model_validate_json(fired.model_dump_json())])
    assert heir.decide(RULE, span(4), NOON_US) is None
    assert list(heir.firing()) == [("tenant", ("a",))]
    resolved = heir.decide(RULE, span(0), NOON_US)
    assert resolved is not None
    assert resolved.transition == 2


def test_an_alert_whose_rule_is_gone_is_over() -> None:
    fired = book().decide(RULE, span(3), NOON_US)
    assert fired is not None
    heir = AlertBook(Rules())
    heir.restore([fired])
    assert [alert.state for alert in heir.retire(NOON_US)] == ["resolved"]
    assert heir.retire(NOON_US) == []


def test_the_name_of_an_alert_is_the_same_for_ever() -> None:
    assert alert_id("slow", "tenant", ("a",)) == "26ec0a1ac15ba34ea03527b7cf58c128"
    assert alert_id("slow", "tenant", ("b",)) != alert_id("slow", "tenant", ("a",))


@pytest.mark.parametrize(
    ("metric", "agg", "value"),
    [
        ("latency_ms", "mean", 6_000.0),
        ("latency_ms", "p50", 6_000.0),
        ("error_rate", "", 0.25),
        ("count", "", 4.0),
        ("input_tokens_per_minute", "", 800.0),
        ("output_tokens_per_minute", "", 80.0),
        ("tokens_per_minute", "", 880.0),
    ],
)
def test_each_metric_has_its_unit(metric: str, agg: str, value: float) -> None:
    rule = Rule.model_validate(
        {"name": "r", "metric": metric, "agg": agg, "threshold": 1.0, "window_s": 30}
    )
    assert measure(rule, span(4, errors=1).measures) == value


@pytest.mark.parametrize(("op", "fires"), [(">", 0), (">=", 1), ("<", 0), ("<=", 1)])
def test_the_operator_decides_what_crosses(op: str, fires: int) -> None:
    rule = Rule.model_validate(
        {"name": "r", "metric": "count", "op": op, "threshold": 5.0, "min_samples": 1}
    )
    assert bool(book(rule).decide(rule, span(5), NOON_US)) == fires


def merge_partition() -> MergePartition:
    rules = MergeRules(sources=1, alerts=Rules((RULE,), "hash"))
    return MergePartition(rules, AlertBook(rules.alerts), next_offset=0, now_us=NOON_US)


def hear(part: MergePartition, *partials: Partial, time_s: int = 0) -> None:
    live = Progress(NOON_US + time_s * 1_000_000, idle=False, ended=False)
    notice = Notice(0, part.next_offset, 0, {LIVE: live})
    part.take(part.next_offset, Bundle(1, list(partials), [notice]), NOON_US)


def slow(offset: int, *, start_s: int = 0, origin: str = LIVE, count: int = 2) -> Partial:
    measures = span(count).measures
    measures.newest_event_at_us = NOON_US + start_s * 1_000_000
    return Partial(origin, "tenant", ("a",), NOON + start_s, 0, offset, measures)


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


def test_a_clock_that_is_ahead_does_not_hide_what_the_others_do() -> None:
    part = merge_partition()
    ahead = replace(span(1, 1_000), dims=("a",)).measures
    hear(part, slow(0, count=9), Partial(LIVE, "tenant", ("a",), NOON + 60, 0, 1, ahead))
    assert [alert.sample_count for alert in part.alerts(NOON_US)] == [9]
