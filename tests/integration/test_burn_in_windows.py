"""Where the day ends at this pace: from windows, as the events themselves say it."""

from collections import defaultdict
from collections.abc import Iterable

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, encode_event, open_batch, seal
from backchannel_processors.counting import counted
from backchannel_processors.measures import Measures
from backchannel_processors.observations import read
from backchannel_processors.rows import Identity, Standing, row, seal_rows
from backchannel_sinks.records import Record
from support.rows_of_events import insert_events, rows, store_metrics

pytestmark = pytest.mark.integration

NOW_US = SYSTEM_CLOCK.now_us()
DAY_US = 86_400_000_000
MIDNIGHT_US = NOW_US // DAY_US * DAY_US


def turn(at_us: int, tokens: int) -> Interaction:
    return Interaction(
        ts_us=at_us, tenant_id="acme", input_tokens=tokens, output_tokens=1, cost_picousd=tokens * 7
    )


def tell(client: Client, turns: Iterable[Interaction]) -> None:
    """Stores turns, and their windows of a minute as the stream tells them."""
    by_minute: defaultdict[int, list[Interaction]] = defaultdict(list)
    for each in turns:
        by_minute[each.ts_us // 60_000_000 * 60].append(each)
    for number, (start, some) in enumerate(by_minute.items()):
        insert_events(client, some, pseq=number + 1, offset=number)
        sealed = seal([encode_event(each) for each in some], producer_id="bot", pseq=number + 1)
        measures = Measures()
        measures.take(list(counted(read(open_batch(sealed.value, sealed.headers)).observations)))
        identity = Identity("live", "tenant", ("acme",), 60, start)
        told = seal_rows([row(identity, measures, 1, Standing(True, True, True), NOW_US)])
        store_metrics(client, Record(number, NOW_US // 1_000, told.value, told.headers))


def test_a_day_that_is_over_is_what_its_events_add_up_to(analyst: Client) -> None:
    tell(analyst, [turn(MIDNIGHT_US - hour * 3_600_000_000, 100 * hour) for hour in range(1, 20)])
    (day,) = rows(analyst, "SELECT * FROM v_burn_windows")
    (last,) = rows(
        analyst,
        "SELECT * FROM v_burn WHERE event_type = 'interaction' ORDER BY hour DESC LIMIT 1",
    )
    assert (day["tokens"], day["cost_usd"]) == (last["day_tokens"], last["day_cost_usd"])
    assert day["forecast_tokens"] == day["tokens"] == last["forecast_tokens"]
    assert day["forecast_usd"] == pytest.approx(last["forecast_usd"])


def test_a_day_that_goes_on_is_told_ahead_at_the_pace_of_its_last_hour(analyst: Client) -> None:
    earlier_us = max(MIDNIGHT_US, NOW_US - 3 * 3_600_000_000)
    tell(analyst, [turn(earlier_us, 5_000), turn(max(MIDNIGHT_US, NOW_US - 600_000_000), 600)])
    (day,) = rows(analyst, "SELECT * FROM v_burn_windows")
    as_of_us = round(day["as_of"].timestamp() * 1e6)
    passed_s = max(60, (as_of_us - MIDNIGHT_US) // 1_000_000)
    pace_s = min(3_600, passed_s)
    last_hour = 601 + 5_001 * (earlier_us > as_of_us - (pace_s + 60) * 1_000_000)
    assert day["tokens"] == 5_602
    assert day["tokens_per_hour"] == pytest.approx(last_hour * 3_600 / pace_s)
    left_s = 86_400 - passed_s
    assert day["forecast_tokens"] == pytest.approx(5_602 + last_hour / pace_s * left_s)
    assert day["forecast_usd"] > float(day["cost_usd"])
