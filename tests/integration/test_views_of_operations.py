"""The views for whoever keeps the bot running, on data whose answer is known."""

from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Component, ErrorEvent, Health, Interaction, LlmCall
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
NOW_US = SYSTEM_CLOCK.now_us()
MIDNIGHT_US = NOW_US // DAY_US * DAY_US
NOON_US = MIDNIGHT_US - 2 * DAY_US + 12 * HOUR_US
"""Noon of the day before yesterday."""


def turn(**fields: Any) -> Interaction:
    """A turn of tenant ``acme`` at noon."""
    known = {"ts_us": NOON_US, "tenant_id": "acme", "endpoint": "/chat", "model": "gpt-4o"}
    return Interaction.model_validate({**known, **fields})


def test_the_time_of_a_turn_is_told_part_by_part(analyst: Client) -> None:
    parts = {"rag_retrieval": 200_000, "llm_generation": 700_000}
    insert_events(
        analyst,
        [
            turn(duration_us=1_000_000, components=parts),
            turn(duration_us=1_000_000, components={"llm_generation": 300_000}, sample_weight=3),
        ],
    )

    found = {row["component"]: row for row in rows(analyst, "SELECT * FROM v_component_breakdown")}

    llm, rest = found["llm_generation"], found["unaccounted"]
    assert (llm["count"], llm["n"], llm["total_ms"], llm["mean_ms"]) == (4, 2, 1600.0, 400.0)
    assert (llm["p50_ms"], llm["p99_ms"]) == (300.0, 700.0)
    assert rest["total_ms"] == 100 + 3 * 700
    assert sum(row["share"] for row in found.values()) == pytest.approx(1)
    assert found["rag_retrieval"]["share"] == pytest.approx(0.05)


def test_parts_that_overlap_leave_nothing_unaccounted(analyst: Client) -> None:
    insert_events(analyst, [turn(duration_us=1_000, components={"a": 800, "b": 800})])

    found = rows(
        analyst, "SELECT total_ms FROM v_component_breakdown WHERE component = 'unaccounted'"
    )
    assert found == [{"total_ms": 0.0}]


def test_time_to_first_token_is_told_of_turns_and_of_calls(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            *(turn(ttft_us=100_000 * n, duration_us=1_000_000) for n in range(1, 11)),
            turn(duration_us=9_000_000),
            LlmCall(ts_us=NOON_US, request_model="gpt-4o", response_model="gpt-4o-0806", ttft_us=7),
        ],
    )

    turns, calls = rows(analyst, "SELECT * FROM v_ttft ORDER BY event_type")

    assert (turns["n"], turns["mean_ms"], turns["p50_ms"], turns["p90_ms"]) == (10, 550, 500, 900)
    assert (turns["max_ms"], turns["share_of_duration"], turns["enough"]) == (1000, 0.55, False)
    assert (calls["event_type"], calls["model"], calls["p99_ms"]) == (
        "llm_call",
        "gpt-4o-0806",
        0.007,
    )


def test_failures_are_told_by_class_type_and_status(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            *(turn() for _ in range(6)),
            turn(status="timeout"),
            *(turn(status="error", error_type="ValueError", http_status=500) for _ in range(2)),
            turn(status="cancelled"),
        ],
    )

    found = rows(analyst, "SELECT * FROM v_errors ORDER BY errors")

    told = [(row["status"], row["error_type"], row["http_status"], row["errors"]) for row in found]
    assert told == [("timeout", "timeout", None, 1), ("error", "ValueError", 500, 2)]
    assert [(row["of_all"], row["share"]) for row in found] == [(10, 0.1), (10, 0.2)]


def test_calls_that_fail_are_told_apart_from_turns(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            turn(status="error"),
            LlmCall(ts_us=NOON_US, tenant_id="acme", status="rate_limited", request_model="m"),
            Component(ts_us=NOON_US, tenant_id="acme", name="rag", status="ok"),
        ],
    )

    found = rows(analyst, "SELECT event_type, model, share FROM v_errors ORDER BY event_type")
    assert [tuple(row.values()) for row in found] == [
        ("interaction", "gpt-4o", 1.0),
        ("llm_call", "m", 1.0),
    ]


def test_errors_that_are_the_same_are_one_group(analyst: Client) -> None:
    def error(at_s: int, **fields: Any) -> ErrorEvent:
        known = {"ts_us": NOON_US + at_s * SECOND_US, "exception_type": "KeyError"}
        return ErrorEvent.model_validate({**known, **fields})

    insert_events(
        analyst,
        [
            error(0, message="user\ntrace 1", user_id="u1", handled=False),
            error(60, message="user\ntrace 2", user_id="u2", sample_weight=4),
            error(60, message="user\ntrace 3", user_id="u2"),
            error(30, fingerprint="given", message="other"),
        ],
    )

    given, same = rows(analyst, "SELECT * FROM v_error_groups ORDER BY count")

    assert (given["fingerprint"], given["count"]) == ("given", 1)
    assert (same["fingerprint"], same["count"], same["unhandled"]) == ("KeyError: user", 6, 1)
    assert (same["users_hit"], (same["last_seen"] - same["first_seen"]).seconds) == (2, 60)


def test_fallbacks_have_a_rate_with_its_interval(analyst: Client) -> None:
    insert_events(
        analyst,
        [
            *(turn(cache_hit=False) for _ in range(6)),
            turn(cache_hit=True, fallback_used=True),
            turn(status="blocked"),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_fallback_rate")[0]

    assert (row["count"], row["fallbacks"], row["fallback_rate"], row["blocked"]) == (
        8,
        1,
        0.125,
        1,
    )
    assert row["cache_hit_rate"] == pytest.approx(1 / 7)
    assert row["rate_low"] < 0.125 < row["rate_high"]
    assert row["enough"] is False


def test_a_promise_is_kept_or_broken_by_the_day(analyst: Client) -> None:
    slow = [turn(duration_us=6 * SECOND_US) for _ in range(6)]
    insert_events(analyst, [*slow, *(turn(duration_us=SECOND_US) for _ in range(94))])

    found = {row["slo"]: row for row in rows(analyst, "SELECT * FROM v_slo")}

    assert {name: row["met"] for name, row in found.items()} == {
        "latency-p50": True,
        "latency-p95": False,
        "latency-p99": True,
        "success": True,
    }
    assert found["latency-p95"]["achieved"] == 0.94
    assert found["latency-p95"]["budget_used"] == pytest.approx(1.2)
    assert found["success"]["enough"] is True


def test_a_promise_kept_to_the_dot_is_kept(analyst: Client) -> None:
    slow = [turn(duration_us=6 * SECOND_US) for _ in range(5)]
    insert_events(analyst, [*slow, *(turn(duration_us=SECOND_US) for _ in range(95))])

    row = rows(analyst, "SELECT met, budget_used FROM v_slo WHERE slo = 'latency-p95'")[0]
    assert row == {"met": True, "budget_used": pytest.approx(1)}


def alert_row(client: Client, alert_id: str, transition: int, state: str, lasted_s: int) -> None:
    client.command(
        "INSERT INTO alerts (alert_id, transition, rule, state, severity, origin, starts_at_us,"
        " ends_at_us, evaluated_at_us, window_end_us, trigger_event_at_us, _epoch) SELECT"
        f" '{alert_id}', {transition}, 'slow', '{state}', 'error', 'live', {NOON_US},"
        f" {'NULL' if state == 'firing' else NOON_US + lasted_s * SECOND_US},"
        f" {NOON_US + lasted_s * SECOND_US}, {NOON_US}, {NOON_US}, 1"
    )


def test_time_to_resolve_is_from_firing_to_resolved(analyst: Client) -> None:
    for alert_id, lasted_s in (("a", 60), ("b", 120), ("c", 600)):
        alert_row(analyst, alert_id, 1, "firing", 0)
        alert_row(analyst, alert_id, 2, "resolved", lasted_s)
    alert_row(analyst, "d", 1, "firing", 0)

    row = rows(analyst, "SELECT * FROM v_mttr")[0]

    assert (row["n"], row["firing_now"], row["mean_s"], row["longest_s"]) == (3, 1, 260.0, 600.0)
    assert (row["p50_s"], row["enough"]) == (120.0, False)


def test_a_rule_whose_alerts_still_fire_has_no_time_to_resolve(analyst: Client) -> None:
    alert_row(analyst, "d", 1, "firing", 0)

    row = rows(analyst, "SELECT n, firing_now, mean_s, p95_s FROM v_mttr")[0]
    assert row == {"n": 0, "firing_now": 1, "mean_s": None, "p95_s": None}


def test_minutes_without_a_sign_of_life_are_down(analyst: Client) -> None:
    first_us = MIDNIGHT_US - DAY_US + 23 * HOUR_US  # an hour of yesterday is left
    insert_events(
        analyst,
        [
            Health(ts_us=first_us + n * MINUTE_US, service="support")
            for n in range(60)
            if not 20 <= n < 35
        ],
    )

    yesterday = rows(analyst, "SELECT * FROM v_uptime ORDER BY day LIMIT 1")[0]

    assert (yesterday["up_minutes"], yesterday["minutes"], yesterday["uptime"]) == (45, 60, 0.75)


def test_a_day_without_any_sign_of_life_is_shown(analyst: Client) -> None:
    insert_events(analyst, [Health(ts_us=NOON_US, service="support")])

    found = rows(analyst, "SELECT up_minutes, minutes FROM v_uptime ORDER BY day")
    assert [tuple(row.values()) for row in found[:2]] == [(1, 720), (0, 1440)]
    assert len(found) == 3


def test_growth_is_a_line_through_whole_days(analyst: Client) -> None:
    for ago, count in ((3, 10), (2, 20), (1, 30), (0, 500)):
        ts_us = MIDNIGHT_US - ago * DAY_US + (SECOND_US if ago else 0)
        insert_events(analyst, [turn(ts_us=ts_us)] * count, offset=ago)

    row = rows(analyst, "SELECT * FROM v_capacity")[0]

    assert (row["days"], row["rows_per_day"], row["enough"]) == (3, 20.0, False)
    assert row["growth_rows_per_day"] == pytest.approx(10)
    assert row["rows_per_day_in_30_days"] == pytest.approx(340)


def test_storage_is_told_by_table(analyst: Client) -> None:
    insert_events(analyst, [turn()] * 3)

    found = {row["table"]: row for row in rows(analyst, "SELECT * FROM v_storage")}

    assert found["events"]["stored_rows"] == 3
    assert found["events"]["disk_bytes"] == pytest.approx(3 * found["events"]["bytes_per_row"])


def test_freshness_tells_how_old_the_newest_row_is(analyst: Client) -> None:
    at_us = SYSTEM_CLOCK.now_us() - 30 * SECOND_US
    insert_events(analyst, [turn(ts_us=at_us - 250_000)], broker_us=at_us)

    found = {row["table"]: row for row in rows(analyst, "SELECT * FROM v_freshness")}

    assert 30 <= found["events"]["age_s"] < 60
    assert found["events"]["p50_to_broker_ms"] == pytest.approx(250, abs=1)
    assert (found["events"]["stored_last_minute"], found["alerts"]["age_s"]) == (1, None)


def test_health_is_told_by_minute(analyst: Client) -> None:
    health: dict[str, Any] = {"ts_us": NOON_US, "producer_id": "p", "service": "support"}
    insert_events(
        analyst,
        [
            Health(**health, cpu=250_000, queues={"celery": 3}, sdk_dropped={"full": 2}),
            Health(**health, cpu=750_000, queues={"celery": 1}, event_loop_lag_us=1_500),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_health")[0]

    assert (row["n"], row["cpu_max"], row["queues_max"]) == (2, 0.75, {"celery": 3})
    assert (row["loop_lag_max_ms"], row["sdk_dropped_total"], row["memory_max"]) == (1.5, 2, None)


def test_who_is_there_now_is_whoever_spoke_in_the_last_five_minutes(analyst: Client) -> None:
    now_us = SYSTEM_CLOCK.now_us()
    insert_events(
        analyst,
        [
            turn(ts_us=now_us - MINUTE_US, session_id="s1", user_id="u1"),
            turn(ts_us=now_us - 2 * MINUTE_US, session_id="s1", sample_weight=9),
            turn(ts_us=now_us - 6 * MINUTE_US, session_id="s2"),
        ],
    )

    row = rows(analyst, "SELECT * FROM v_live")[0]
    assert (row["sessions"], row["users"], row["turns_per_minute"]) == (1, 1, 2.0)


def test_throughput_is_what_the_windows_say(analyst: Client) -> None:
    analyst.command(
        "INSERT INTO metric_windows (origin, grouping, dims, window_s, window_start, revision,"
        " count, published_at_us) SELECT 'live', 'tenant', map('tenant', 'acme'), 60,"
        f" {NOON_US // SECOND_US}, revision, revision * 30, {NOW_US} FROM"
        " (SELECT arrayJoin([1, 4]) AS revision)"
    )

    row = rows(analyst, "SELECT tenant, count, per_second, per_minute FROM v_throughput")[0]
    assert row == {"tenant": "acme", "count": 120, "per_second": 2.0, "per_minute": 120.0}
