"""Rules over the events that ClickHouse holds: the same code, the same decisions."""

import pytest
from clickhouse_connect.driver.client import Client

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction
from backchannel_deploy.cli.app import run
from support.endpoint import ClickHouse
from support.rows_of_events import insert_events

pytestmark = pytest.mark.integration

SECOND_US = 1_000_000


def turns(start_us: int, tenant: str, duration_us: int) -> list[Interaction]:
    """Returns two minutes of turns, one a second."""
    return [
        Interaction(
            tenant_id=tenant,
            ts_us=start_us + second * SECOND_US,
            duration_us=duration_us,
            input_tokens=10,
            ttft_us=5,
            model="m",
        )
        for second in range(120)
    ]


def test_a_backtest_tells_what_would_have_fired(
    analyst: Client,
    shared_endpoint: ClickHouse,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start_us = SYSTEM_CLOCK.now_us() - 1_800 * SECOND_US
    insert_events(analyst, turns(start_us, "slow", 6_000_000), pseq=1, offset=0)
    insert_events(analyst, turns(start_us, "quick", 10_000), pseq=2, offset=1)
    insert_events(analyst, turns(start_us, "again", 6_000_000), pseq=3, offset=2, origin="replay:x")
    monkeypatch.setenv("BACKCHANNEL_CLICKHOUSE", shared_endpoint.url)
    monkeypatch.setenv("BACKCHANNEL_DATABASE", str(analyst.database))

    assert run(["rules", "backtest", "--since", "1h", "--rule", "latency-p95"]) == 0

    told = capsys.readouterr().out
    assert "tenant=slow" in told
    assert "tenant=quick" not in told
    assert "tenant=again" not in told  # a replay raised no alerts when it came
    assert "240 events, 240 of them turns" in told
