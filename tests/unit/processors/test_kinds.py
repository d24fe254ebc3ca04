"""What each kind of rule finds, over minutes that are held and days that are summed up."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from backchannel.events import Alert, Health, Security, encode_event, seal
from backchannel_processors.alerting import AlertBook, Clocks
from backchannel_processors.frames import HOUR, MINUTE, Calendar, frame_for
from backchannel_processors.measures import Measures
from backchannel_processors.partials import open_measures
from backchannel_processors.rule_trial import Trial
from backchannel_processors.rules import Rules
from backchannel_processors.source_partition import Record
from support.interactions import GROUPINGS, NOON_US, Changelog, interaction, record, source
from support.rules import NOON, SECOND_US, Series, measures, rule_of

DAY = 86_400
LAST = (NOON_US - SECOND_US, "the-last-one")
"""Time and id of the newest event."""
SINCE_MIDNIGHT = NOON % DAY
"""Seconds from midnight UTC to the noon of these tests."""


def values(series: Series) -> list[float | None]:
    return [alert.value for alert in series.alerts]


# -- ratio, burn rate --------------------------------------------------------------------------


def test_a_ratio_is_the_share_of_one_quantity_in_another() -> None:
    series = Series(rule_of("ratio", metric="errors", threshold=0.2, min_samples=4))
    assert series.at(0, 8, errors=1) == []
    assert series.at(1, 2, errors=2) == ["firing"]
    assert values(series) == [0.3]


def test_slow_turns_are_told_by_the_histogram() -> None:
    rule = rule_of("ratio", metric="slow", over_ms=1_000, threshold=0.4, min_samples=2)
    series = Series(rule)
    assert series.at(0, 6, latency_us=900_000) == []
    assert series.at(1, 6, latency_us=1_100_000) == ["firing"]


BURN = rule_of(
    "burn_rate",
    objective=0.99,
    windows=[{"long": "1h", "short": "5m", "factor": 10}],
    min_samples=10,
)


def test_a_burn_rate_needs_both_windows() -> None:
    series = Series(BURN)
    for minute in range(60):
        series.at(minute * 60, 10, errors=0)
        series.let_go(minute * 60 - 180)
    assert series.alerts == []
    for minute in range(60, 65):  # the short window burns at once, the long one after a while
        series.at(minute * 60, 10, errors=10)
        series.let_go(minute * 60 - 180)
    assert series.alerts == []
    assert series.at(65 * 60, 20, errors=20) == ["firing"]
    assert values(series) == [pytest.approx(70 / 630 / 0.01, rel=0.1)]


def test_a_burn_rate_is_over_soon_after_the_trouble() -> None:
    series = Series(BURN)
    assert series.at(0, 100, errors=100) == ["firing"]
    for minute in range(1, 8):
        series.at(minute * 60, 100, errors=0)
        series.let_go(minute * 60 - 180)
    assert [alert.state for alert in series.alerts] == ["firing", "resolved"]


# -- budgets -----------------------------------------------------------------------------------


def budget(**fields: Any) -> Series:
    given: dict[str, Any] = {"metric": "tokens", "threshold": 1_000, "period": "day"} | fields
    return Series(rule_of("budget", **given))


def test_a_budget_fires_with_the_event_that_crosses_it() -> None:
    series = budget()
    assert series.at(0, tokens=999) == []
    assert series.at(3_600, tokens=1) == ["firing"]
    assert series.last is not None
    assert (series.last.value, series.last.trigger_event_at_us) == (
        1_000.0,
        NOON_US + 3_600 * SECOND_US,
    )
    assert series.last.period_start_us == NOON_US - SINCE_MIDNIGHT * SECOND_US


def test_what_was_let_go_of_counts_once() -> None:
    series = budget()
    series.at(0, tokens=600)
    series.let_go(10)
    assert series.at(300, tokens=300) == []
    series.windows[NOON] = series.windows[NOON + 300]  # as if a crash had kept the window
    series.let_go(10)
    assert series.at(310, tokens=100) == ["firing"]
    assert values(series) == [1_000.0]


def test_a_new_period_ends_the_alert_of_the_old_one() -> None:
    series = budget()
    series.at(0, tokens=1_000)
    midnight = DAY - SINCE_MIDNIGHT
    series.let_go(10)
    assert series.silent_until(midnight - 10) == []
    assert series.silent_until(midnight + 10) == ["resolved"]
    assert series.last is not None
    assert (series.last.reason, series.last.value) == ("period_over", 0.0)


def test_a_budget_used_up_in_the_last_second_of_its_period_is_told() -> None:
    series = budget()
    midnight = DAY - SINCE_MIDNIGHT
    series.windows[NOON + midnight - 10] = series.windows.get(NOON, _tokens(5_000, midnight - 1))
    assert series.at(midnight + 1, tokens=1) == ["firing", "resolved"]
    assert values(series) == [5_000.0, 1.0]
    assert series.at(midnight + 2, tokens=1) == []


def _tokens(tokens: int, second: int) -> Measures:
    return measures(1, tokens=tokens, at_us=NOON_US + second * SECOND_US)


def test_a_period_begins_at_midnight_where_the_rule_lives() -> None:
    series = budget(time_zone="Asia/Kolkata")
    series.at(0, tokens=1_000)
    assert series.last is not None
    assert series.last.period_start_us is not None
    local = datetime.fromtimestamp(
        series.last.period_start_us / SECOND_US, ZoneInfo("Asia/Kolkata")
    )
    assert (local.hour, local.minute) == (0, 0)


def test_a_rolling_budget_looks_back_from_now() -> None:
    series = budget(period="hour", rolling=True)
    series.at(0, tokens=600)
    series.let_go(10)
    assert series.at(3_000, tokens=600) == ["firing"]
    series.let_go(3_010)
    assert series.at(3_700, tokens=1) == ["resolved"]


def test_a_forecast_fires_before_the_budget_is_spent() -> None:
    rest_h = (DAY - SINCE_MIDNIGHT) // 3_600
    series = budget(forecast=True, threshold=100 * rest_h)
    for minute in range(60):
        series.at(minute * 60, tokens=4)
        series.let_go(minute * 60 - 180)
    assert [alert.state for alert in series.alerts] == ["firing"]
    (value,) = values(series)
    assert value is not None
    assert value >= 100 * rest_h


def test_a_budget_says_when_it_has_not_seen_the_whole_period() -> None:
    series = budget()
    series.at(0, tokens=600)
    series.let_go(10)
    series.at(300, tokens=600)
    assert series.last is not None
    assert not series.last.complete


# -- change ------------------------------------------------------------------------------------


def test_a_change_is_told_against_the_same_hour_of_earlier_days() -> None:
    series = Series(rule_of("change", metric="count", min_samples=10, min_days=3, days=7))
    for five_minutes in range(5 * 288):
        series.at(five_minutes * 300, 25 + five_minutes // 288 % 2)
        series.let_go(five_minutes * 300 - 180)
    assert series.alerts == []
    fired = [series.at(5 * DAY + minute * 60, 200) for minute in range(15)]
    assert ["firing"] in fired


def test_a_change_needs_some_days() -> None:
    series = Series(rule_of("change", metric="count", min_samples=1))
    assert series.at(0, 1_000) == []


# -- conversation ------------------------------------------------------------------------------


def talk(at_s: int, tokens: int, conversation: str = "c", **fields: Any) -> bytes:
    said = {"conversation_id": conversation, "input_tokens": tokens, **fields}
    return encode_event(interaction(at_s, **said))


def told(trial: Trial, at_s: int, *lines: bytes) -> list[Alert]:
    """Takes turns at so many seconds after noon; returns what is decided by then."""
    alerts = list(trial.until(NOON_US + at_s * SECOND_US))
    trial.take(lines)
    return [*alerts, *trial.until(NOON_US + at_s * SECOND_US)]


def on_trial(**rule: Any) -> Trial:
    return Trial(Rules((rule_of("conversation", **rule),), "hash"), GROUPINGS, NOON_US)


def test_a_conversation_over_the_limit_fires_by_the_turn_that_took_it_there() -> None:
    trial = on_trial(metric="tokens", threshold=4_000)
    assert told(trial, 0, talk(0, 4_000)) == []
    (alert,) = told(trial, 5, talk(5, 1))
    assert (alert.value, alert.threshold, alert.sample_count) == (4_001.0, 4_000.0, 1)
    assert alert.exemplars == [alert.trigger_event_id]


def test_turns_of_many_conversations_are_no_long_one() -> None:
    trial = on_trial(metric="tokens", threshold=4_000)
    assert told(trial, 0, *(talk(0, 3_000, f"c{n}") for n in range(5))) == []


def test_it_is_over_when_none_went_over_for_the_window() -> None:
    trial = on_trial(metric="tokens", threshold=10, window="1m")
    assert [a.state for a in told(trial, 0, talk(0, 11))] == ["firing"]
    assert [a.state for a in told(trial, 50, talk(50, 11))] == []
    assert [a.state for a in told(trial, 100, talk(100, 0, ""))] == ["resolved"]


def test_the_largest_of_several_comes_first() -> None:
    trial = on_trial(metric="tokens", threshold=10, min_samples=2)
    lines = [talk(1, tokens, f"c{tokens}") for tokens in (20, 40, 30)]
    (alert,) = told(trial, 1, *lines)
    assert (alert.value, alert.sample_count) == (40.0, 3)
    assert alert.exemplars[0] == json.loads(lines[1])["event_id"]


@pytest.mark.parametrize(
    ("metric", "threshold", "fields"),
    [
        ("cost_usd", 0.5, {"cost_picousd": 500_000_000_001}),
        ("turns", 0, {}),
        ("errors", 0, {"status": "error"}),
        ("duration_s", 2.5, {"duration_us": 2_500_001}),
        ("output_tokens", 3, {"output_tokens": 4}),
    ],
)
def test_each_measure_of_a_conversation_has_its_unit(
    metric: str, threshold: float, fields: dict[str, Any]
) -> None:
    (alert,) = told(on_trial(metric=metric, threshold=threshold), 0, talk(0, 0, **fields))
    assert alert.value == pytest.approx(threshold, abs=1.001)


# -- no data -----------------------------------------------------------------------------------

SILENT = rule_of("no_data", window="1m", forget_after="1h")


class Quiet:
    """A series under a rule that misses it."""

    def __init__(self) -> None:
        self.book = AlertBook(Rules((SILENT,), "hash"))
        self.read(0)

    def read(self, second: int) -> list[str]:
        clocks = Clocks(NOON_US, 0, NOON_US + second * SECOND_US)
        self.alerts = self.book.decide(lambda grouping, dims: (), clocks)
        return [alert.state for alert in self.alerts]


def test_a_series_that_falls_silent_is_missed() -> None:
    quiet = Quiet()
    quiet.book.changed("tenant", ("a",), LAST)
    assert [quiet.read(second) for second in (20, 40)] == [[], []]
    assert quiet.read(60) == ["firing"]
    quiet.book.changed("tenant", ("a",), LAST)
    assert quiet.read(70) == ["resolved"]


def test_an_outage_of_the_workers_is_no_silence() -> None:
    quiet = Quiet()
    quiet.book.changed("tenant", ("a",), LAST)
    assert quiet.read(3_600) == []


def test_a_clock_that_is_set_back_makes_nothing_silent() -> None:
    quiet = Quiet()
    quiet.book.changed("tenant", ("a",), LAST)
    assert [quiet.read(second) for second in (-7_200, -7_190, -7_180)] == [[], [], []]


def test_a_series_is_not_missed_for_ever() -> None:
    quiet = Quiet()
    quiet.book.changed("tenant", ("a",), LAST)
    told = [state for second in range(20, 4_000, 20) for state in quiet.read(second)]
    assert told == ["firing", "resolved"]
    assert not quiet.book.silence.items()


def test_silence_outlives_a_restart() -> None:
    quiet, heir = Quiet(), Quiet()
    quiet.book.changed("tenant", ("a",), LAST)
    quiet.read(20)
    for key, value in quiet.book.changes():
        heir.book.restore_entry(key[2 : key.index(b'"', 2)].decode(), key, value)
    assert [heir.read(second) for second in (20, 40)] == [[], ["firing"]]


def test_an_alert_of_silence_names_the_last_event_before_it_even_after_a_restart() -> None:
    quiet, heir = Quiet(), Quiet()
    quiet.book.changed("tenant", ("a",), LAST)
    quiet.read(20)
    for key, value in quiet.book.changes():
        heir.book.restore_entry(key[2 : key.index(b'"', 2)].decode(), key, value)
    heir.read(20)
    heir.read(40)
    (fired,) = heir.alerts
    assert (fired.trigger_event_at_us, fired.trigger_event_id) == LAST


# -- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("span_s", "frame"), [(300, MINUTE), (3_600, MINUTE), (259_200, HOUR)])
def test_a_span_is_summed_in_the_finest_frame_that_is_kept(span_s: int, frame: object) -> None:
    assert frame_for(span_s) is frame


@pytest.mark.parametrize(
    ("period", "zone", "at", "start", "end"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("hour", "Asia/Kolkata", "2026-01-01T12:10", "2026-01-01T11:30", "2026-01-01T12:30"),
        ("week", "UTC", "2026-11-21T12:00", "2026-11-16T00:00", "2026-11-23T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("month", "America/New_York", "2026-03-01T04:00", "2026-02-01T05:00", "2026-03-01T05:00"),
        ("hour", "Europe/Berlin", "2026-10-25T01:30", "2026-10-25T01:00", "2026-10-25T02:00"),
    ],
)
def test_periods_follow_the_calendar_of_their_zone(
    period: str, zone: str, at: str, start: str, end: str
) -> None:
    calendar = Calendar(period, zone, DAY)  # type: ignore[arg-type] # parameters are plain text
    seconds = [
        int(datetime.fromisoformat(each).replace(tzinfo=UTC).timestamp())
        for each in (at, start, end)
    ]
    assert [calendar.start(seconds[0]), calendar.end(seconds[0])] == seconds[1:]


def test_the_metrics_of_what_people_and_machines_say_have_their_units() -> None:
    from backchannel_processors.distributions import Score
    from backchannel_processors.rule_metrics import METRICS, quantity

    told = Measures(
        sums={"count": 4, "unpriced": 1, "cost_picousd": 2_500_000_000_000, "fallbacks": 2},
        scores={
            "feedback": {"rating": Score(2, 7_000_000, 3_000_000, 4_000_000)},
            "gauges": {
                "cpu": Score(2, 1_600_000, 700_000, 900_000),
                "queue:mail": Score(2, 30, 10, 20),
                "queue:work": Score(2, 10, 5, 5),
            },
        },
    )

    def value(name: str) -> float:
        metric = METRICS[name]
        totals = {each: quantity(each)(told) for each in (*metric.needs, metric.samples)}
        return metric.of_totals(totals, 60)

    found = {
        name: value(name)
        for name in ("unpriced_rate", "cost_usd", "fallback_rate", "satisfaction", "cpu")
    }
    assert found == {
        "unpriced_rate": 0.25,
        "cost_usd": 2.5,
        "fallback_rate": 0.5,
        "satisfaction": 3.5,
        "cpu": 0.8,
    }
    assert value("queue_depth") == 10.0


# -- lag, losses, refusals ---------------------------------------------------------------------

LAG = rule_of("lag", window="1m")


def behind(*moments: tuple[int, int], is_first: bool = True) -> list[str]:
    """What is decided at some seconds of the wall clock, when all was read up to some second."""
    book = AlertBook(Rules((LAG,), "hash"), is_first=is_first)
    return [
        alert.state
        for now, read in moments
        for alert in book.decide(
            lambda grouping, dims: (),
            Clocks(NOON_US + now * SECOND_US, 0, NOON_US + read * SECOND_US),
        )
    ]


def test_workers_that_do_not_keep_up_are_told_of_until_they_have_caught_up() -> None:
    assert behind((0, 0), (30, 0), (59, 0)) == []
    assert behind((0, 0), (30, 0), (60, 0)) == ["firing"]
    assert behind((0, 0), (30, 0), (60, 0), (70, 65)) == ["firing", "resolved"]


def test_a_lag_is_told_by_one_partition_alone() -> None:
    assert behind((0, 0), (30, 0), (60, 0), is_first=False) == []


@pytest.mark.parametrize("jump", [7_200, -7_200])
def test_a_wall_clock_that_is_set_is_no_lag(jump: int) -> None:
    assert behind((0, 0), (jump, 0), (jump + 10, 0)) == []


def refused(at_s: int, principal: str, outcome: str = "blocked") -> bytes:
    said = {"kind": "login", "outcome": outcome, "principal_hash": principal}
    return encode_event(Security.model_validate({"ts_us": NOON_US + at_s * SECOND_US, **said}))


def test_refusals_count_by_the_principal_that_has_most_of_them() -> None:
    rule = rule_of(metric="refused_by_principal", op=">=", threshold=3, min_samples=1)
    trial = Trial(Rules((rule,), "hash"), GROUPINGS, NOON_US)
    others = [refused(0, name) for name in "bcde"] + [refused(0, "a", "allowed")] * 3
    assert told(trial, 0, refused(0, "a"), *others) == []
    (alert,) = told(trial, 20, refused(20, "a"), refused(20, "a", "flagged"))
    assert alert.value == 3.0


def test_records_that_are_missing_count_where_the_next_one_stands() -> None:
    part = source()
    for offset, pseq in enumerate((1, 4, 5)):
        part.take(record(offset, [interaction(offset * 10)], pseq=pseq), NOON_US)
    lost = {
        partial.window_start - NOON: open_measures(partial.sealed).sum("lost_records")
        for partial in part.flush(fast_only=False)
        if partial.grouping == "tenant"
    }
    assert lost == {0: 0, 10: 2, 20: 0}


def test_what_a_bot_dropped_counts_once_also_after_a_restart() -> None:
    def told_by(offset: int, total: int) -> Record:
        event = Health(ts_us=NOON_US, sdk_dropped={"buffer_full": total})
        sealed = seal([encode_event(event)], producer_id="bot", pseq=offset + 1)
        return Record(offset, NOON_US, sealed.value, sealed.headers)

    part, heir, changelog = source(), source(), Changelog()
    for offset, total in enumerate((0, 3, 3, 5)):
        part.take(told_by(offset, total), NOON_US)
    changelog.write(part)
    heir.restore(changelog.entries, NOON_US)
    heir.take(told_by(4, 6), NOON_US)
    (everything,) = [p for p in heir.flush(fast_only=False) if p.grouping == ""]
    assert open_measures(everything.sealed).sum("dropped_events") == 6
