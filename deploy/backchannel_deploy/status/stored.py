"""What ClickHouse says of the pipeline: freshness, losses, alerts."""

from clickhouse_connect.driver.client import Client

from backchannel_deploy.status.state import Agent, Alert, Freshness

__all__ = ["agents", "dead_letters", "dropped", "firing", "freshness", "last_alert", "lost"]

_FIRING_MAX = 20
_GONE_S = 60
"""An agent that has said nothing for so long is gone."""
_ALERT = "SELECT rule, state, severity, dims, toString(evaluated_at) FROM v_alerts"


def freshness(client: Client) -> tuple[Freshness, ...]:
    rows = client.query("SELECT table, age_s, stored_last_minute FROM v_freshness").result_rows
    return tuple(sorted((Freshness(*row) for row in rows), key=lambda each: each.table))


def agents(client: Client) -> tuple[Agent, ...]:
    rows = client.query(
        "SELECT agent, process, lag_records, lag_s, configuration, refused FROM v_agents"
        " WHERE latest AND age_s < {gone:UInt32} ORDER BY agent, process",
        {"gone": _GONE_S},
    ).result_rows
    return tuple(Agent(*row) for row in rows)


def lost(client: Client) -> int:
    return _number(
        client,
        "SELECT sum(missing) - sum(dead_letters) FROM v_loss"
        " WHERE settled AND before_at > now() - 3600",
    )


def dropped(client: Client) -> dict[str, int]:
    rows = client.query(
        "SELECT sumMap(dropped) FROM (SELECT argMax(sdk_dropped, seq) AS dropped FROM events"
        " WHERE event_type = 'health' AND _broker_time > now() - 3600 GROUP BY producer_id)"
    ).result_rows
    return {str(reason): int(count) for reason, count in (rows[0][0] if rows else {}).items()}


def dead_letters(client: Client) -> int:
    return _number(
        client, "SELECT count() FROM dead_letters FINAL WHERE broker_time > now() - 3600"
    )


def firing(client: Client) -> tuple[Alert, ...]:
    rows = client.query(
        f"{_ALERT} WHERE latest AND state = 'firing' AND origin = 'live'"
        f" ORDER BY evaluated_at DESC LIMIT {_FIRING_MAX}"
    ).result_rows
    return tuple(Alert(*row) for row in rows)


def last_alert(client: Client) -> Alert | None:
    rows = client.query(f"{_ALERT} ORDER BY evaluated_at DESC LIMIT 1").result_rows
    return Alert(*rows[0]) if rows else None


def _number(client: Client, statement: str) -> int:
    rows = client.query(statement).result_rows
    return int(rows[0][0] or 0) if rows else 0
