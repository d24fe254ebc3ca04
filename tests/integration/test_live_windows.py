"""Who is there now: estimated in SQL as in the stream, over windows of the last five minutes."""

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction, encode_event, open_batch, seal
from backchannel_processors.counting import counted
from backchannel_processors.distinct import Registers, marks_of
from backchannel_processors.measures import Measures
from backchannel_processors.observations import read
from backchannel_processors.rows import Identity, Standing, row, seal_rows
from backchannel_sinks.records import Record
from support.rows_of_events import rows, store_metrics

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("ids", [0, 1, 3, 700, 5_000, 300_000])
def test_sql_estimates_what_the_stream_does(analyst: Client, ids: int) -> None:
    registers = Registers()
    registers.take(marks_of(f"u{number}" for number in range(ids)))
    ranks = f"{[*registers.ranks]}::Array(UInt16), {[*registers.ranks.values()]}::Array(UInt8)"
    found = analyst.query(f"SELECT bc_distinct(mapFromArrays({ranks}))").result_rows
    assert found == [(registers.estimate,)]


def tell(client: Client, at_us: int, users: range) -> None:
    """Stores the window of ten seconds in which these users had a turn each."""
    turns = [Interaction(ts_us=at_us, user_id=f"u{n}", session_id=f"s{n % 5}") for n in users]
    sealed = seal([encode_event(each) for each in turns], producer_id="bot", pseq=1)
    measures = Measures()
    measures.take(list(counted(read(open_batch(sealed.value, sealed.headers)).observations)))
    identity = Identity("live", "tenant", ("acme",), 10, at_us // 10_000_000 * 10)
    told = seal_rows([row(identity, measures, 1, Standing(True, True, True), at_us)])
    store_metrics(client, Record(at_us // 10_000_000, at_us // 1_000, told.value, told.headers))


def test_a_user_of_several_windows_is_one_and_who_left_is_none(analyst: Client) -> None:
    now_us = SYSTEM_CLOCK.now_us()
    tell(analyst, now_us - 600_000_000, range(900, 950))
    tell(analyst, now_us - 120_000_000, range(20))
    tell(analyst, now_us - 20_000_000, range(10, 30))
    (live,) = rows(analyst, "SELECT users, sessions, turns, tenant FROM v_live_windows")
    assert live == {"users": 30, "sessions": 5, "turns": 40, "tenant": "acme"}
