"""Bots and analysts see the same cost: SQL computes what ``backchannel.prices`` does."""

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import COUNT_MAX, LlmCall
from backchannel.prices import Rates, Step, cost
from backchannel.prices.rates import UNITS
from backchannel_deploy.prices.load import replace
from backchannel_deploy.prices.rows import own_rows
from support.rows_of_events import TABLES, insert_events

pytestmark = pytest.mark.integration

NOW_US = SYSTEM_CLOCK.now_us()
FIELDS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "output_audio_tokens",
)

# Few tokens, so that parts often fit their whole, and some that make sums of 80 bits.
tokens = st.one_of(st.integers(0, 8), st.sampled_from([0, 1_000, COUNT_MAX]))
usages = st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, tokens)), min_size=10, max_size=40)
rate = st.one_of(st.none(), st.integers(0, 100), st.sampled_from([2**40, 2**63 - 1]))


@st.composite
def rates(draw: st.DrawFn) -> Rates:
    above = sorted(draw(st.sets(st.integers(0, 8), max_size=2)))
    steps = []
    for bound in (-1, *above):
        known = {unit: draw(rate) for unit in UNITS}
        if all(value is None for value in known.values()):
            known["input"] = 1  # the price book has no step without any rate
        steps.append(Step(above_input_tokens=bound, **known))
    return Rates(tuple(steps), "custom_table", "own")


@settings(max_examples=15)
@given(known=rates(), used=usages)
def test_sql_prices_any_usage_as_python_does(
    analyst_database: Client, known: Rates, used: list[dict[str, int]]
) -> None:
    for table in TABLES:
        analyst_database.command(f"TRUNCATE TABLE {table}")
    replace(analyst_database, "custom_table", own_rows({"m": known}))
    counted = [each for each in used if each["input_tokens"] or each["output_tokens"]]
    calls = [LlmCall.model_validate({"ts_us": NOW_US, "request_model": "M", **u}) for u in counted]
    if not calls:
        return
    insert_events(analyst_database, calls)

    asked = analyst_database.query(
        "SELECT c.cost_status, c.cost_picousd FROM v_cost AS c INNER JOIN events AS e"
        " USING (event_id) ORDER BY e._line"
    )

    expected = [cost(known, each) for each in counted]
    assert [tuple(row) for row in asked.result_rows] == [
        (each.status, each.picousd) for each in expected
    ]
