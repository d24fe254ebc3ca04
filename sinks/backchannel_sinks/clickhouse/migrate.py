"""Brings a database to the tables and views of this version.

The steps are the numbered SQL files in ``migrations/``. Each is applied once, in order, and noted
in the table ``schema_migrations`` with a checksum of its text: a file never changes once released.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from clickhouse_connect.driver.client import Client

__all__ = ["Migration", "MigrationError", "applied", "migrate", "migrations", "statements"]

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

_NOTES = """
CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'number of the migration',
    name String COMMENT 'its name',
    checksum String COMMENT 'SHA-256 of its text, hexadecimal',
    applied_at DateTime('UTC') DEFAULT now() COMMENT 'when it was applied'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Which migrations this database has.'
"""


class MigrationError(Exception):
    """The database can't be brought to this version; the message says why, for a person."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Returns the migrations of this version, in order."""
    found = []
    for file in files("backchannel_sinks.clickhouse").joinpath("migrations").iterdir():
        if named := _FILE.fullmatch(file.name):
            # Line ends are ours whatever a checkout made of them: the checksum must not change.
            sql = file.read_text("utf-8").replace("\r\n", "\n")
            found.append(Migration(int(named[1]), named[2], sql))
    return sorted(found, key=lambda each: each.version)


def statements(sql: str) -> list[str]:
    """Splits the text of a migration: a statement ends with a semicolon at the end of a line."""
    parts = re.split(r";[ \t]*$", sql, flags=re.MULTILINE)
    return [part.strip() for part in parts if part.strip()]


def migrate(client: Client) -> list[Migration]:
    """Applies what the client's database does not have yet, and returns it.

    Creates the database when there is none. Safe to repeat, to interrupt and to run twice at once:
    every statement may be repeated, and a migration is noted after its last one. Blocks.

    Raises:
        MigrationError: a migration that was applied is not the one of this version.
        clickhouse_connect.driver.exceptions.ClickHouseError: ClickHouse is away or refuses.
    """
    _create_database(client)
    client.command(_NOTES)
    noted = _applied(client)
    todo = []
    for migration in migrations():
        checksum = noted.get(migration.version)
        if checksum is None:
            todo.append(migration)
        elif checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.version:04} {migration.name} is another one than the one "
                "that this database has: it belongs to another version of backchannel"
            )
    for migration in todo:
        for statement in statements(migration.sql):
            client.command(statement)
        _note(client, migration)
    return todo


def applied(client: Client) -> dict[int, str]:
    """Returns the checksum of each migration that the client's database has, by its number;
    changes nothing. Without the database there is none. Blocks.

    Raises:
        clickhouse_connect.driver.exceptions.ClickHouseError: ClickHouse is away or refuses.
    """
    known = client.command(
        "SELECT count() FROM system.tables WHERE database = {name:String}"
        " AND name = 'schema_migrations'",
        parameters={"name": client.database or ""},
        use_database=False,
    )
    return _applied(client) if known else {}


def _create_database(client: Client) -> None:
    name = client.database or ""
    if not _DATABASE.fullmatch(name):
        raise MigrationError("the database must have a name of letters, digits and _")
    # Asked first: a user may have all rights inside the database, and none to create one.
    known = client.command(
        "SELECT count() FROM system.databases WHERE name = {name:String}",
        parameters={"name": name},
        use_database=False,
    )
    if not known:
        client.command(f"CREATE DATABASE IF NOT EXISTS `{name}`", use_database=False)


def _applied(client: Client) -> dict[int, str]:
    rows = client.query("SELECT version, checksum FROM schema_migrations FINAL").result_rows
    return {int(version): str(checksum) for version, checksum in rows}


def _note(client: Client, migration: Migration) -> None:
    client.command(
        "INSERT INTO schema_migrations (version, name, checksum) "
        "SELECT {version:UInt32}, {name:String}, {checksum:String}",
        parameters={
            "version": migration.version,
            "name": migration.name,
            "checksum": migration.checksum,
        },
    )
