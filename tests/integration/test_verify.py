"""Windows held to the events they were made of, on the real ClickHouse."""

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import (
    Document,
    Evaluation,
    Event,
    Health,
    Interaction,
    LlmCall,
    Retrieval,
    ToolCall,
)
from backchannel_deploy.verify.compare import REPAIRED, Kind
from backchannel_deploy.verify.windows import Span, WindowsFound, check_windows
from support.rows_of_events import insert_events, rows
from support.streamed import GROUPINGS, Streamed

pytestmark = pytest.mark.integration

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
NOW_US = SYSTEM_CLOCK.now_us() // DAY_US * DAY_US
NOON_US = NOW_US - DAY_US // 2
"""Noon of yesterday."""


def events(at_us: int, number: int = 30) -> list[Event]:
    """Events of every measured type, of three tenants; one in ten failed."""
    found: list[Event] = []
    for n in range(number):
        who = {"ts_us": at_us + n * SECOND_US, "tenant_id": f"t{n % 3}", "user_id": f"u{n % 5}"}
        found += [
            Interaction.model_validate(
                who
                | {"model": "gpt-4o", "duration_us": n * 999, "input_tokens": n, "ttft_us": n}
                | {"status": "error" if n % 10 == 0 else "ok", "cost_picousd": 10**15 * n}
                | {"components": {"rag": n}, "sample_weight": 1 + n % 2, "session_id": f"s{n}"}
            ),
            LlmCall.model_validate(who | {"response_model": "m", "output_tokens": 3}),
            Evaluation.model_validate(who | {"name": "g", "value": -n, "source": "human"}),
            Retrieval.model_validate(who | {"documents": (Document(id="d", score=n),)}),
            ToolCall.model_validate(who | {"tool_name": "t", "duration_us": n}),
            Health.model_validate(who | {"cpu": n, "queues": {"q": n}}),
        ]
    return found


def check(client: Client, now_us: int = NOW_US) -> WindowsFound:
    since_s, until_s = (NOW_US - DAY_US) // SECOND_US, NOW_US // SECOND_US
    return check_windows(client, Span(since_s, until_s, now_us, 60, 86_400, GROUPINGS))


@pytest.fixture
def streamed(analyst: Client) -> Streamed:
    return Streamed(analyst)


def test_windows_agree_with_the_events_they_were_made_of(
    analyst: Client, streamed: Streamed
) -> None:
    streamed.publish(events(NOON_US), broker_us=NOON_US + 30 * SECOND_US)
    # A clock that is two hours ahead: these are counted at the broker's time.
    streamed.publish(events(NOON_US + 2 * HOUR_US), broker_us=NOON_US + 40 * SECOND_US)
    streamed.close(NOW_US + HOUR_US)

    found = check(analyst)

    assert found.mismatches == []
    assert found.compared > 100
    assert found.events == 360


def test_what_came_late_is_found_and_a_correction_stands(
    analyst: Client, streamed: Streamed
) -> None:
    streamed.publish(events(NOON_US), broker_us=NOON_US)
    streamed.publish(events(NOON_US + HOUR_US, 1), broker_us=NOON_US + HOUR_US)
    streamed.publish(events(NOON_US, 3), broker_us=NOON_US + HOUR_US)
    streamed.close(NOW_US + HOUR_US)

    found = check(analyst)
    assert {each.kind for each in found.mismatches} == {Kind.LATE}
    all_day = next(
        each
        for each in found.mismatches
        if each.identity.window_s == 86_400 and not each.identity.grouping
    )
    assert (all_day.stored_count, all_day.counted_count) == (46, 50)

    streamed.store([each.correction for each in found.mismatches if each.correction])
    assert check(analyst).mismatches == []
    (corrected,) = rows(
        analyst,
        "SELECT count, revision FROM metric_windows FINAL WHERE window_s = 86400 AND grouping = ''",
    )
    assert corrected["count"] == 50
    assert corrected["revision"] > REPAIRED


def test_a_window_that_is_missing_is_made_anew(analyst: Client, streamed: Streamed) -> None:
    streamed.publish(events(NOON_US), broker_us=NOON_US)
    streamed.close(NOW_US + HOUR_US)
    analyst.command("DELETE FROM metric_windows WHERE window_s = 60 AND tenant = 't1'")

    found = check(analyst)

    assert {each.kind for each in found.mismatches} == {Kind.MISSING}
    streamed.store([each.correction for each in found.mismatches if each.correction])
    assert check(analyst).mismatches == []


def test_a_window_that_says_more_than_its_events_is_told_and_left_alone(
    analyst: Client, streamed: Streamed
) -> None:
    streamed.publish(events(NOON_US), broker_us=NOON_US)
    streamed.close(NOW_US + HOUR_US)
    analyst.command("DELETE FROM events WHERE tenant_id = 't1'")

    found = check(analyst)

    assert {each.kind for each in found.mismatches} == {Kind.EXCESS}
    assert not any(each.correction for each in found.mismatches)


def test_events_that_may_have_gone_by_age_say_nothing_of_their_windows(
    analyst: Client, streamed: Streamed
) -> None:
    streamed.publish(events(NOON_US), broker_us=NOON_US)
    streamed.close(NOW_US + HOUR_US)
    analyst.command("TRUNCATE TABLE events")

    found = check(analyst, now_us=NOW_US + 91 * DAY_US)

    assert (found.compared, found.without_events) == (0, 2)


def test_a_record_without_a_number_that_came_twice_counts_once(
    analyst: Client, streamed: Streamed
) -> None:
    some = events(NOON_US, 2)
    insert_events(analyst, some, pseq=0, offset=100)
    insert_events(analyst, some, pseq=0, offset=101)

    found = check(analyst)

    assert {each.kind for each in found.mismatches} == {Kind.MISSING}
    everything = [each for each in found.mismatches if not each.identity.grouping]
    assert {each.counted_count for each in everything if each.identity.window_s == 60} == {3}
