"""Money in SQL, on prices and tokens whose product is known: exact to the last picodollar."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Event, Interaction, LlmCall
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NOW_US = SYSTEM_CLOCK.now_us()
NOON_US = NOW_US // DAY_US * DAY_US - 2 * DAY_US + 12 * HOUR_US
"""Noon of the day before yesterday."""
M = 1_000_000


def price(client: Client, model: str, **fields: Any) -> None:
    """A price of one dollar a million tokens in, two a million out; from the beginning of time."""
    known = {
        "provider": "openai",
        "valid_from": "2020-01-01",
        "above_input_tokens": -1,
        "input_picousd": M,
        "output_picousd": 2 * M,
        "source": "price_table",
    }
    row = {**known, "model": model, **fields}
    names = ", ".join(row)
    values = ", ".join(repr(v) if isinstance(v, str) else str(v) for v in row.values())
    client.command(f"INSERT INTO prices ({names}) VALUES ({values})")


def turn(**fields: Any) -> Interaction:
    known = {"ts_us": NOON_US, "tenant_id": "acme", "provider": "openai", "model": "gpt-4o"}
    return Interaction.model_validate({**known, **fields})


def costs(client: Client, *events: Event) -> list[tuple[Any, ...]]:
    """Cost, status and source of each event, in the order given."""
    insert_events(client, events)
    asked = client.query(
        "SELECT c.cost_picousd, c.cost_status, c.cost_source FROM v_cost AS c"
        " INNER JOIN events AS e USING (event_id) ORDER BY e._line"
    )
    return [tuple(row) for row in asked.result_rows]


def test_a_cost_is_tokens_times_price(analyst: Client) -> None:
    price(analyst, "gpt-4o", cache_read_picousd=M // 2, cache_write_picousd=3 * M)
    found = costs(
        analyst,
        turn(input_tokens=100, output_tokens=10),
        turn(input_tokens=100, output_tokens=10, cache_read_tokens=60, cache_write_tokens=20),
    )

    assert found == [
        (120 * M, "priced", "price_table"),
        ((20 + 30 + 60 + 20) * M, "priced", "price_table"),
    ]


def test_audio_and_reasoning_may_have_prices_of_their_own(analyst: Client) -> None:
    parts = {"input_audio_picousd": 10 * M, "output_audio_picousd": 20 * M}
    price(analyst, "gpt-4o", **parts, reasoning_picousd=5 * M)
    found = costs(
        analyst,
        turn(input_tokens=5, input_audio_tokens=2, output_tokens=6, output_audio_tokens=1),
        turn(output_tokens=6, reasoning_tokens=4),
    )

    assert [row[0] for row in found] == [(3 + 20 + 10 + 20) * M, (4 + 20) * M]


def test_a_price_may_depend_on_the_hour(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    price(analyst, "gpt-4o", from_s=13 * 3_600, input_picousd=3 * M)

    found = costs(analyst, turn(input_tokens=1), turn(input_tokens=1, ts_us=NOON_US + HOUR_US))
    assert [row[0] for row in found] == [M, 3 * M]


def test_a_tier_of_the_provider_has_its_own_price(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    price(analyst, "gpt-4o", service_tier="batch", output_picousd=M)
    call = {"ts_us": NOON_US, "provider": "OpenAI", "request_model": "GPT-4o", "output_tokens": 1}

    found = costs(
        analyst,
        LlmCall.model_validate(call),
        LlmCall.model_validate({**call, "service_tier": "batch"}),
        LlmCall.model_validate({**call, "service_tier": "unheard-of"}),
    )
    assert found == [
        (2 * M, "priced", "price_table"),
        (M, "priced", "price_table"),
        (None, "unpriced", ""),
    ]


def test_what_the_event_says_wins(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    own = {"cost_picousd": 42, "cost_status": "priced", "cost_source": "reported"}

    assert costs(analyst, turn(input_tokens=100, **own)) == [(42, "priced", "reported")]


def test_history_can_be_priced_anew(analyst: Client) -> None:
    insert_events(analyst, [turn(input_tokens=100, cost_picousd=42)])
    price(analyst, "gpt-4o")

    assert rows(analyst, "SELECT table_picousd FROM v_cost") == [{"table_picousd": 100 * M}]


def test_a_model_without_a_price_costs_no_zero(analyst: Client) -> None:
    assert costs(analyst, turn(input_tokens=1)) == [(None, "unpriced", "")]


def test_more_cached_tokens_than_tokens_have_no_cost(analyst: Client) -> None:
    price(analyst, "gpt-4o")

    found = costs(analyst, turn(input_tokens=1, cache_read_tokens=2))
    assert found == [(None, "invalid_usage", "")]


def test_what_the_bot_says_is_free_of_charge_stays_so(analyst: Client) -> None:
    price(analyst, "gpt-4o")

    found = costs(analyst, turn(input_tokens=1, cost_status="not_applicable"))
    assert found == [(None, "not_applicable", "")]


def test_the_price_of_the_day_counts(analyst: Client) -> None:
    day = datetime.fromtimestamp(NOON_US // M, UTC).date()
    price(analyst, "gpt-4o")
    price(analyst, "gpt-4o", input_picousd=5 * M, valid_from=str(day))

    found = costs(
        analyst,
        turn(input_tokens=1, ts_us=NOON_US - DAY_US),
        turn(input_tokens=1),
    )
    assert [row[0] for row in found] == [M, 5 * M]


def test_a_tier_is_for_all_tokens_of_a_longer_call(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    price(analyst, "gpt-4o", above_input_tokens=1_000, input_picousd=4 * M, output_picousd=8 * M)

    found = costs(
        analyst,
        turn(input_tokens=1_000, output_tokens=1),
        turn(input_tokens=1_001, output_tokens=1),
    )
    assert [row[0] for row in found] == [1_002 * M, 4_012 * M]


def test_own_prices_win_over_published_ones(analyst: Client) -> None:
    price(analyst, "gpt-4o", valid_from="2026-01-01")
    price(analyst, "gpt-4o", input_picousd=3, source="custom_table", provider="*")

    assert costs(analyst, turn(input_tokens=1)) == [(3, "priced", "custom_table")]


def test_an_own_price_of_the_provider_wins_over_one_of_any(analyst: Client) -> None:
    price(analyst, "gpt-4o", input_picousd=3, source="custom_table", provider="*")
    price(analyst, "gpt-4o", input_picousd=4, source="custom_table")

    found = costs(analyst, turn(input_tokens=1), turn(input_tokens=1, provider="azure"))
    assert [row[0] for row in found] == [4, 3]


def test_a_price_that_is_taken_back_counts_no_more(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    price(analyst, "gpt-4o", removed="true")

    assert costs(analyst, turn(input_tokens=1)) == [(None, "unpriced", "")]


def test_a_call_is_priced_by_the_model_that_answered(analyst: Client) -> None:
    price(analyst, "gpt-4o-2024-08-06")
    call = LlmCall(
        ts_us=NOON_US,
        provider="openai",
        request_model="gpt-4o",
        response_model="gpt-4o-2024-08-06",
        output_tokens=3,
    )

    assert costs(analyst, call)[0][0] == 6 * M


def test_money_is_told_in_dollars_exactly(analyst: Client) -> None:
    insert_events(analyst, [turn(input_tokens=1, cost_picousd=1_234_567_890_123)])

    assert rows(analyst, "SELECT cost_usd FROM v_cost") == [{"cost_usd": Decimal("1.234567890123")}]


def test_the_cost_of_models_adds_up_with_shares(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    price(analyst, "mini", input_picousd=M // 2)
    insert_events(
        analyst,
        [
            turn(input_tokens=100, sample_weight=3),
            turn(input_tokens=200, model="mini"),
            turn(input_tokens=9, model="unheard-of"),
        ],
    )

    found = rows(analyst, "SELECT * FROM v_cost_by_model ORDER BY cost_usd DESC")

    told = [(r["model"], r["calls"], r["unpriced"], r["input_tokens"]) for r in found]
    assert told == [("gpt-4o", 3, 0, 300), ("mini", 1, 0, 200), ("unheard-of", 1, 1, 9)]
    assert [r["cost_usd"] for r in found] == [Decimal("0.0003"), Decimal("0.0001"), 0]
    assert [r["usd_per_call"] for r in found] == [pytest.approx(1e-4), pytest.approx(1e-4), None]
    assert [r["share"] for r in found] == [0.75, 0.25, 0]


def test_a_statement_says_whether_it_is_complete(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    insert_events(
        analyst,
        [
            turn(user_id="u1", output_tokens=5),
            turn(user_id="u1", output_tokens=6),
            turn(user_id="u2", output_tokens=1, model="unheard-of"),
        ],
    )

    first, second = rows(analyst, "SELECT * FROM v_billing ORDER BY user_id")

    assert (first["events"], first["cost_picousd"], first["complete"]) == (2, 22 * M, True)
    assert (second["cost_usd"], second["unpriced"], second["complete"]) == (0, 1, False)


def test_burn_runs_up_to_the_day_and_ahead(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    midnight_us = NOON_US - 12 * HOUR_US
    insert_events(analyst, [turn(input_tokens=10, ts_us=midnight_us + h * HOUR_US) for h in (0, 5)])

    first, sixth = rows(analyst, "SELECT * FROM v_burn ORDER BY hour")

    assert (first["day_tokens"], sixth["day_tokens"]) == (10, 20)
    assert (first["forecast_tokens"], sixth["forecast_tokens"]) == (240, 80)
    assert sixth["day_cost_usd"] == Decimal("0.00002")
    assert sixth["forecast_usd"] == pytest.approx(80e-6)


def test_the_most_expensive_come_first(analyst: Client) -> None:
    price(analyst, "gpt-4o")
    insert_events(analyst, [turn(input_tokens=tokens) for tokens in (1, 7, 2)])

    found = rows(analyst, "SELECT rank, input_tokens, share FROM v_expensive ORDER BY rank")
    assert [tuple(row.values()) for row in found] == [(1, 7, 0.7), (2, 2, 0.2), (3, 1, 0.1)]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("cost", [("b", 5e-6), ("a", 2e-6)]),
        ("tokens", [("b", 5), ("a", 2)]),
        ("turns", [("a", 2), ("b", 1)]),
        ("errors", [("a", 1), ("b", 0)]),
        ("seconds", [("b", 3), ("a", 0)]),
    ],
)
def test_the_top_is_by_any_metric(
    analyst: Client, metric: str, expected: list[tuple[str, float]]
) -> None:
    price(analyst, "gpt-4o")
    insert_events(
        analyst,
        [
            turn(user_id="a", input_tokens=1),
            turn(user_id="a", input_tokens=1, status="error"),
            turn(user_id="b", input_tokens=5, duration_us=3 * M),
        ],
    )

    found = rows(
        analyst,
        "SELECT key, value FROM v_top(dim = 'user', metric = {metric:String},"
        " since = '2020-01-01') ORDER BY rank",
        metric=metric,
    )
    assert [(row["key"], row["value"]) for row in found] == expected


def test_a_dimension_that_is_none_is_refused_with_the_known_ones(analyst: Client) -> None:
    insert_events(analyst, [turn()])

    with pytest.raises(DatabaseError, match="dim must be one of tenant, user"):
        rows(analyst, "SELECT * FROM v_top(dim='nobody', metric='turns', since='2020-01-01')")


WHAT_IF = (
    "SELECT sum(now_picousd) AS now, sum(then_picousd) AS then,"
    " countIf(NOT comparable) AS not_known"
    " FROM v_whatif(to_provider = {provider:String}, to_model = {model:String},"
    " fewer_input_tokens = {fewer:UInt32}, cache_hit_permille = {permille:UInt16})"
)


@pytest.mark.parametrize(
    ("asked", "then"),
    [
        ({"model": ""}, 120 * M),
        ({"model": "mini"}, 12 * M),
        ({"model": "mini", "permille": 250}, 9 * M),
        ({"model": "", "fewer": 30}, 90 * M),
        ({"model": "", "fewer": 5_000}, 20 * M),
    ],
)
def test_what_it_would_cost_elsewhere(analyst: Client, asked: dict[str, Any], then: int) -> None:
    price(analyst, "gpt-4o")
    price(analyst, "mini", input_picousd=M // 10, output_picousd=M // 5)
    insert_events(analyst, [turn(input_tokens=100, output_tokens=10)])
    parameters = {"provider": "openai", "fewer": 0, "permille": 0, **asked}

    found = rows(analyst, WHAT_IF, **parameters)

    assert found == [{"now": 120 * M, "then": then, "not_known": 0}]


def test_what_has_no_price_is_left_out_of_the_comparison_and_counted(analyst: Client) -> None:
    price(analyst, "mini")
    insert_events(analyst, [turn(input_tokens=100), turn(input_tokens=7, model="mini")])

    found = rows(analyst, WHAT_IF, provider="openai", model="mini", fewer=0, permille=0)
    assert found == [{"now": 7 * M, "then": 7 * M, "not_known": 1}]


def test_prices_are_told_as_people_read_them(analyst: Client) -> None:
    price(analyst, "gpt-4o", input_picousd=2_500_000, valid_from="2024-05-13")
    price(analyst, "gpt-4o", input_picousd=2_000_000, valid_from="2025-05-13")

    found = rows(
        analyst,
        "SELECT input_usd_per_million, toString(valid_until) AS until FROM v_prices"
        " ORDER BY valid_from",
    )
    assert [tuple(row.values()) for row in found] == [
        (Decimal("2.5"), "2025-05-12"),
        (Decimal(2), None),
    ]


def test_the_token_log_has_its_four_columns(analyst: Client) -> None:
    insert_events(
        analyst, [turn(user_id="u", endpoint="/chat", input_tokens=3, output_tokens=4), turn()]
    )

    found = rows(analyst, "SELECT * FROM token_log")
    assert [list(row.values())[:3] for row in found] == [["u", 7, "/chat"]]
    assert list(found[0]) == ["user_id", "tokens", "endpoint", "timestamp"]
