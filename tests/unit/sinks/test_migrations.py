"""The migrations as text: numbered, whole, and each statement safe to repeat."""

import re

import pytest

from backchannel.events import EVENT_TYPES
from backchannel_sinks.clickhouse.connection import connect
from backchannel_sinks.clickhouse.migrate import Migration, migrations, statements

MIGRATIONS = migrations()


def test_the_numbers_leave_no_gap() -> None:
    assert [each.version for each in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda each: each.name)
def test_every_statement_may_be_repeated(migration: Migration) -> None:
    for statement in statements(migration.sql):
        sql = re.sub(r"^--.*\n", "", statement, flags=re.MULTILINE).strip()
        repeatable = (
            r"CREATE (TABLE IF NOT EXISTS|OR REPLACE VIEW) \w+\n|CREATE OR REPLACE FUNCTION bc_"
            r"|ALTER TABLE \w+ COMMENT COLUMN "
        )
        adds_columns = re.match(r"ALTER TABLE \w+\n", sql) and all(
            line.strip().startswith("ADD COLUMN IF NOT EXISTS ") for line in sql.splitlines()[1:]
        )
        assert adds_columns or re.match(repeatable, sql), sql[:80]


def test_a_statement_ends_with_a_semicolon_at_the_end_of_a_line() -> None:
    sql = "SELECT 'a; b';\n-- why; really\nSELECT\n    2;  \n\n"

    assert statements(sql) == ["SELECT 'a; b'", "-- why; really\nSELECT\n    2"]


def test_the_checksum_changes_with_the_text() -> None:
    assert Migration(1, "a", "SELECT 1").checksum != Migration(1, "a", "SELECT 2").checksum


def test_the_backstop_knows_every_event_type() -> None:
    known = re.search(r"event_type_is_known CHECK event_type IN \((.*)\)", MIGRATIONS[0].sql)

    assert known is not None
    assert re.findall(r"'(\w+)'", known[1]) == list(EVENT_TYPES)


@pytest.mark.parametrize(
    "url", ["clickhouse.example:8123", "tcp://bob:secret@host:9000", "http://", ""]
)
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="must be http://host:port") as caught:
        connect(url, "backchannel")
    assert "secret" not in str(caught.value)
