"""Which events an alert names: the one that tipped it, and those that show what it is about."""

from typing import Any

import pytest

from backchannel.events import Alert, Event, Feedback, encode_event
from backchannel_processors.rule_trial import Trial
from backchannel_processors.rules import Rules
from support.interactions import GROUPINGS, NOON_US, interaction
from support.rules import SECOND_US, rule_of


def named(number: int) -> str:
    """An event id that is easy to read: its number comes first."""
    return f"{number:08}-0000-7000-8000-000000000000"


def numbers(event_ids: list[str]) -> list[int]:
    return [int(event_id[:8]) for event_id in event_ids]


def fired(events: list[Event], **rule: Any) -> Alert:
    """What a rule that everything crosses says of some events that come together."""
    rules = Rules((rule_of(min_samples=1, **rule),), "hash")
    trial = Trial(rules, GROUPINGS, NOON_US + 30 * SECOND_US)
    trial.take([encode_event(event) for event in events])
    (alert,) = trial.until(trial.now_us + SECOND_US)
    return alert


def turns(*fields: dict[str, Any]) -> list[Event]:
    return [
        interaction(second, event_id=named(second), **each) for second, each in enumerate(fields)
    ]


def test_the_trigger_is_the_newest_event_by_its_time() -> None:
    events = turns({}, {}, {})
    alert = fired([events[2], events[0], events[1]], metric="count", threshold=0)
    assert alert.trigger_event_id == named(2)
    assert alert.trigger_event_at_us == NOON_US + 2 * SECOND_US


def test_of_events_at_the_same_time_the_last_by_id_is_the_trigger() -> None:
    events: list[Event] = [interaction(0, event_id=named(n)) for n in (2, 3, 1)]
    assert fired(events, metric="count", threshold=0).trigger_event_id == named(3)


def test_an_alert_about_latency_names_the_slowest_turns() -> None:
    events = turns(*({"duration_us": us} for us in (10, 40, 20, 30)))
    alert = fired(events, metric="latency_ms", agg="mean", threshold=0)
    assert numbers(alert.exemplars) == [1, 3, 2]


def test_the_worst_of_all_windows_comes_first() -> None:
    events: list[Event] = [
        interaction(second, event_id=named(second), duration_us=us)
        for second, us in ((1, 10), (11, 30), (21, 20))
    ]
    alert = fired(events, metric="latency_ms", agg="mean", threshold=0)
    assert numbers(alert.exemplars) == [11, 21, 1]


@pytest.mark.parametrize(
    ("rule", "worst"),
    [
        ({"metric": "error_rate"}, {"status": "error"}),
        ({"metric": "errors", "kind": "ratio"}, {"status": "timeout"}),
        ({"metric": "slow", "over_ms": 5_000, "kind": "ratio"}, {"duration_us": 6_000_000}),
        ({"metric": "cost_usd"}, {"cost_picousd": 7}),
        ({"metric": "unpriced_rate"}, {"input_tokens": 3}),
    ],
)
def test_each_metric_names_events_that_show_what_it_is_about(
    rule: dict[str, Any], worst: dict[str, Any]
) -> None:
    alert = fired(turns({}, worst, {}), threshold=0, **rule)
    assert numbers(alert.exemplars)[0] == 1


def test_an_alert_about_ratings_names_the_lowest() -> None:
    given: list[Event] = [
        Feedback(ts_us=NOON_US, event_id=named(stars), kind="rating", value=stars * 1_000_000)
        for stars in (4, 1, 5, 2)
    ]
    alert = fired(given, metric="satisfaction", op="<", threshold=4)
    assert numbers(alert.exemplars) == [1, 2, 4]


def test_what_has_no_worst_names_the_newest_of_each_window() -> None:
    events: list[Event] = [interaction(s, event_id=named(s)) for s in (1, 2, 11, 12)]
    alert = fired(events, metric="count", threshold=0)
    assert numbers(alert.exemplars) == [12, 2]


def test_what_is_over_keeps_its_exemplars_and_says_what_ended_it() -> None:
    rules = Rules((rule_of(metric="error_rate", threshold=0.5, min_samples=1),), "hash")
    trial = Trial(rules, GROUPINGS, NOON_US)
    trial.take([encode_event(event) for event in turns({"status": "error"})])
    (firing,) = trial.until(NOON_US + SECOND_US)
    trial.take([encode_event(interaction(1, event_id=named(n))) for n in (5, 6, 7)])
    (over,) = trial.until(NOON_US + 2 * SECOND_US)
    assert firing.exemplars == over.exemplars == [named(0)]
    assert (firing.trigger_event_id, over.trigger_event_id) == (named(0), named(7))
