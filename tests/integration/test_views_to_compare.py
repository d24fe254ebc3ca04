"""Experiments, markers and traces in SQL, on data whose answer is known."""

import random
from math import erfc, exp, sqrt
from statistics import mean, variance
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    Component,
    ErrorEvent,
    Evaluation,
    Exposure,
    Interaction,
    LlmCall,
    Marker,
)
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
NOON_US = SYSTEM_CLOCK.now_us() // (24 * HOUR_US) * 24 * HOUR_US - 36 * HOUR_US


def turn(**fields: Any) -> Interaction:
    known = {"ts_us": NOON_US, "tenant_id": "acme"}
    return Interaction.model_validate({**known, **fields})


def shown(variant: str, user: str) -> Exposure:
    return Exposure(ts_us=NOON_US, experiment_id="tone", variant=variant, user_id=user)


def test_every_known_number_of_a_turn_is_a_row(analyst: Client) -> None:
    answer = turn(duration_us=1_500, input_tokens=3, cost_picousd=10**12, user_id="u")
    judged = Evaluation(name="tone", value=250_000, target_event_id=answer.event_id)
    insert_events(analyst, [answer, judged])

    found = {r["measure"]: r["value"] for r in rows(analyst, "SELECT * FROM v_measures")}

    assert found == {
        "duration_ms": 1.5,
        "tokens": 3,
        "cost_usd": 1,
        "success": 1,
        "fallback": 0,
        "score:tone": 0.25,
    }


def test_variants_are_compared_with_the_control(analyst: Client) -> None:
    chance = random.Random(1)
    control = [chance.randrange(1_000, 2_000) for _ in range(120)]
    warm = [chance.randrange(1_500, 2_500) for _ in range(150)]
    insert_events(
        analyst,
        [
            turn(experiment_id="tone", variant=name, duration_us=1_000 * each)
            for name, durations in (("control", control), ("a-warm", warm))
            for each in durations
        ],
    )

    found = rows(
        analyst,
        "SELECT * FROM v_experiment_results WHERE measure = 'duration_ms' ORDER BY is_control",
    )

    half = 1.959963984540054 * sqrt(variance(warm) / 150 + variance(control) / 120)
    difference = mean(warm) - mean(control)
    first, second = found
    assert (first["variant"], second["variant"]) == ("a-warm", "control")
    assert (first["n"], first["mean"]) == (150, pytest.approx(mean(warm)))
    assert first["difference"] == pytest.approx(difference)
    assert first["difference_low"] == pytest.approx(difference - half)
    assert first["lift"] == pytest.approx(difference / mean(control))
    assert (first["differs"], first["enough"], second["difference"]) == (True, True, None)


def test_few_answers_are_not_enough(analyst: Client) -> None:
    insert_events(analyst, [turn(experiment_id="tone", variant=name) for name in ("a", "b")])

    found = rows(
        analyst,
        "SELECT variant, is_control, enough FROM v_experiment_results WHERE measure = 'success'"
        " ORDER BY variant",
    )
    assert [tuple(r.values()) for r in found] == [("a", True, False), ("b", False, False)]


SPLIT = "SELECT * FROM v_experiment_split(experiment = 'tone', weights = map({}))"


@pytest.mark.parametrize(
    ("users", "weights", "p_value"),
    [
        ({"a": 50, "b": 50}, "'a', 1, 'b', 1", 1.0),
        ({"a": 60, "b": 40}, "'a', 1, 'b', 1", erfc(sqrt(4 / 2))),
        ({"a": 90, "b": 10}, "'a', 9, 'b', 1", 1.0),
        ({"a": 90, "b": 10}, "'a', 1, 'b', 1", erfc(sqrt(64 / 2))),
        ({"a": 30, "b": 30, "c": 60}, "'a', 1, 'b', 1, 'c', 1", exp(-15 / 2)),
    ],
)
def test_a_split_is_held_against_its_plan(
    analyst: Client, users: dict[str, int], weights: str, p_value: float
) -> None:
    events = [shown(name, f"{name}{n}") for name, count in users.items() for n in range(count)]
    insert_events(analyst, [*events, *events[:7]])

    found = rows(analyst, SPLIT.format(weights))

    assert {r["variant"]: r["users"] for r in found} == users
    assert [r["p_value"] for r in found] == pytest.approx([p_value] * len(users), abs=1e-12)
    assert {r["broken"] for r in found} == {p_value < 0.001}


def test_whoever_saw_two_variants_is_counted(analyst: Client) -> None:
    insert_events(analyst, [shown("a", "u"), shown("b", "u"), shown("a", "v")])

    found = rows(analyst, SPLIT.format("'a', 1, 'b', 1"))
    assert [(r["both_ways"], r["enough"]) for r in found] == [(1, False)] * 2


def test_a_marker_parts_before_from_after(analyst: Client) -> None:
    marker = Marker(ts_us=NOON_US, kind="prompt_change", title="v2")
    before = [turn(ts_us=NOON_US - HOUR_US, duration_us=n * 1_000) for n in range(100)]
    after = [turn(ts_us=NOON_US, duration_us=n * 1_000 + 500_000) for n in range(100)]
    outside = [turn(ts_us=NOON_US - 25 * HOUR_US), turn(ts_us=NOON_US + 24 * HOUR_US)]
    insert_events(analyst, [marker, *before, *after, *outside])

    row = rows(
        analyst,
        "SELECT * FROM v_before_after(marker = {marker:String}, hours = 24)"
        " WHERE measure = 'duration_ms'",
        marker=marker.event_id,
    )[0]

    assert (row["before_n"], row["after_n"], row["enough"]) == (100, 100, True)
    assert (row["before_mean"], row["difference"]) == (pytest.approx(49.5), pytest.approx(500))
    assert row["difference_low"] < 500 < row["difference_high"]
    assert row["differs"] is True


def test_a_trace_is_read_from_top_to_bottom(analyst: Client) -> None:
    link: dict[str, Any] = {"trace_id": "t", "tenant_id": "acme"}
    insert_events(
        analyst,
        [
            LlmCall(
                **link, ts_us=NOON_US + 2_000, span_id="c", parent_span_id="b", request_model="m"
            ),
            turn(**link, span_id="a", endpoint="/chat", duration_us=9_000),
            Component(**link, ts_us=NOON_US + 1_000, span_id="b", parent_span_id="a", name="llm"),
            ErrorEvent(**link, ts_us=NOON_US + 3_000, parent_span_id="c", message="oh"),
            turn(trace_id="other"),
        ],
    )

    found = rows(
        analyst,
        "SELECT start_ms, depth, span, detail FROM v_trace WHERE trace_id = 't' ORDER BY start_ms",
    )

    assert [tuple(r.values()) for r in found] == [
        (0, 0, "/chat", ""),
        (1, 1, "llm", ""),
        (2, 2, "m", ""),
        (3, 3, "error", "oh"),
    ]


def test_a_span_that_names_itself_its_parent_ends_somewhere(analyst: Client) -> None:
    insert_events(analyst, [turn(trace_id="t", span_id="a", parent_span_id="a")])

    assert rows(analyst, "SELECT depth FROM v_trace") == [{"depth": 8}]
