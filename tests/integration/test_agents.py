"""What agents say of themselves is a row of ``v_agents``."""

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import seal_report
from backchannel.probes.agent import AgentState, PartitionState
from backchannel_sinks.records import Record
from support.rows_of_events import rows, store_metrics

pytestmark = pytest.mark.integration

NOW_US = SYSTEM_CLOCK.now_us()
STATE = AgentState(
    "merge",
    received=9,
    processed=7,
    skipped={"repeated": 2},
    sizes={"series": 4},
    partitions=(
        PartitionState("chat.partials", 0, 3, 1_500_000, NOW_US),
        PartitionState("chat.partials", 1, 1, 500_000, NOW_US - 1_000_000),
    ),
    configuration="abc",
    refused="no such metric",
)


def told(age_s: int) -> Record:
    """What an agent said some seconds ago, as a record of ``chat.metrics``."""
    sealed = seal_report(STATE.report("w-1", NOW_US - age_s * 1_000_000))
    return Record(age_s, NOW_US // 1_000 - age_s * 1_000, sealed.value, sealed.headers)


def test_the_view_says_how_an_agent_is_and_which_word_is_its_last(analyst: Client) -> None:
    for age_s in (15, 0):
        store_metrics(analyst, told(age_s))
    newest, before = rows(analyst, "SELECT * FROM v_agents ORDER BY at DESC")
    assert (newest["latest"], before["latest"]) == (True, False)
    assert (newest["agent"], newest["process"], newest["skipped"]) == (
        "merge",
        "w-1",
        {"repeated": 2},
    )
    assert (newest["lag_records"], newest["lag_s"], newest["partitions"]) == (4, 1.5, 2)
    assert newest["watermark"].timestamp() == pytest.approx(NOW_US / 1e6 - 1)
    assert (newest["configuration"], newest["refused"]) == ("abc", "no such metric")


def test_a_report_that_is_stored_again_stands_once(analyst: Client) -> None:
    for _ in range(2):
        store_metrics(analyst, told(0))
    assert len(rows(analyst, "SELECT * FROM v_agents")) == 1
