"""Roles, held by the real engine: who sees what, and what a server is to be told."""

from collections.abc import Callable, Iterator
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from backchannel.clock import SYSTEM_CLOCK
from backchannel.events import Interaction
from backchannel_sinks.clickhouse.access import role_statements
from backchannel_sinks.clickhouse.cluster import Cluster
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import (
    MigrationError,
    migrate,
    migrations,
    statements,
)
from support.endpoint import EndpointProcess
from support.rows_of_events import insert_events

pytestmark = pytest.mark.integration

ANALYST = [
    ("SELECT count() FROM v_events", 1),
    ("SELECT count() FROM v_cost", 1),
    ("SELECT count() FROM dead_letters", 0),
]
REFUSED = [
    ("analyst", "SELECT text FROM content"),
    ("analyst", "SELECT value FROM v_dead_letters"),
    ("analyst", "SELECT subject_keys FROM erasures"),
    ("analyst", "INSERT INTO events (event_type) VALUES ('marker')"),
    ("analyst", "DROP TABLE events"),
    ("analyst", "SET ROLE owner"),
    ("analyst", "KILL QUERY WHERE 1"),
    ("oncall", "SELECT text FROM content"),
    ("oncall", "ALTER TABLE events DELETE WHERE 1"),
    ("finance", "SELECT error_message FROM v_events"),
    ("finance", "SELECT value FROM dead_letters"),
]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointProcess]:
    """An endpoint with an event in it, whose readers have passwords."""
    passwords = {
        f"BACKCHANNEL_ENDPOINT_{role}_PASSWORD": "r3ad" for role in ("ANALYST", "ONCALL", "FINANCE")
    }
    process = EndpointProcess(tmp_path_factory.mktemp("access"), environment=passwords)
    process.start()
    try:
        owner = connect(process.url, "backchannel")
        migrate(owner)
        event = Interaction(ts_us=SYSTEM_CLOCK.now_us(), input_tokens=3, user_id="u")
        insert_events(owner, [event])
        owner.close()
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="module")
def reader(endpoint: EndpointProcess) -> Callable[[str], Client]:
    """Connects as one of the roles, as anybody would: with a session."""

    def connected(role: str) -> Client:
        return clickhouse_connect.get_client(
            dsn=endpoint.url, username=role, password="r3ad", database="backchannel"
        )

    return connected


def test_readers_ask_what_their_role_may_see(reader: Callable[[str], Client]) -> None:
    def first(role: str, sql: str) -> Any:
        return reader(role).query(sql).result_rows[0][0]

    for sql, expected in ANALYST:
        assert first("analyst", sql) == expected
    assert first("oncall", "SELECT count(value) FROM dead_letters") == 0
    for sql in ("v_cost_by_model", "v_billing", "v_prices", "v_cost_windows", "v_burn"):
        reader("finance").query(f"SELECT * FROM {sql}")


@pytest.mark.parametrize(("role", "sql"), REFUSED)
def test_the_engine_refuses_the_rest(reader: Callable[[str], Client], role: str, sql: str) -> None:
    with pytest.raises(DatabaseError, match=r"ACCESS_DENIED|READONLY"):
        reader(role).command(sql)


def test_what_a_server_is_told_is_what_the_engine_reads(endpoint: EndpointProcess) -> None:
    owner = connect(endpoint.url, "backchannel")
    told = role_statements("backchannel", ["acme"])
    for statement in (*told, *role_statements("backchannel", ["acme"], "c")):
        owner.query("SELECT formatQuery({sql:String})", parameters={"sql": statement})
    owner.close()


def test_the_migrations_of_a_cluster_are_what_the_engine_reads(endpoint: EndpointProcess) -> None:
    owner = connect(endpoint.url, "backchannel")
    for migration in migrations():
        for statement in statements(migration.sql):
            for each in (
                *Cluster("c").statements(statement),
                *Cluster("c", 3).statements(statement),
            ):
                sql = each.replace("\\", "\\\\").replace("'", "\\'")
                owner.query(f"SELECT formatQuery('{sql}')")  # too long for a parameter
    with pytest.raises(MigrationError, match="it knows no cluster 'replicas'"):
        migrate(owner, "replicas")
    owner.close()
