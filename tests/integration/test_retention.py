"""``backchannel retention`` on a real engine: what is too old goes, the rest stays."""

from pathlib import Path

import pytest

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction
from backchannel_deploy.cli.app import run
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import migrate
from support.endpoint import ClickHouse
from support.rows_of_events import insert_events, rows

pytestmark = pytest.mark.integration

DAY_US = 86_400_000_000
RULES = """
[days]
events = 30
windows = 400
windows_below_a_minute = 7
alerts = 100
content = 10
[tenants.patient]
events = 60
content = 5
"""


def test_rows_go_when_the_rules_of_their_tenant_say_so(
    clickhouse: ClickHouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    client = connect(clickhouse.url, clickhouse.database)
    migrate(client)
    monkeypatch.setenv("BACKCHANNEL_CLICKHOUSE", clickhouse.url)
    monkeypatch.setenv("BACKCHANNEL_DATABASE", clickhouse.database)
    file = tmp_path / "retention.toml"
    file.write_text(RULES)
    now_us = SYSTEM_CLOCK.now_us()
    insert_events(
        client,
        [
            Interaction(ts_us=now_us - days * DAY_US, tenant_id=tenant)
            for tenant in ("usual", "patient")
            for days in (1, 40, 70)
        ],
    )

    assert run(["retention", str(file), "--dry-run"]) == 0
    assert "-- 3 rows would go" in capsys.readouterr().out
    assert client.command("SELECT count() FROM events") == 6

    assert run(["retention", str(file)]) == 0
    client.command("OPTIMIZE TABLE events FINAL")
    left = rows(client, "SELECT tenant_id, count() AS n FROM events GROUP BY tenant_id ORDER BY n")
    assert left == [{"tenant_id": "usual", "n": 1}, {"tenant_id": "patient", "n": 2}]
