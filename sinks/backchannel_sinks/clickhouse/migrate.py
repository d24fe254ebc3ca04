"""Brings a database to the tables and views of this version.

The steps are the numbered SQL files in ``migrations/``. Each is applied once, in order, and noted
in the table ``schema_migrations`` with a checksum of its text: a file never changes once released.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

from clickhouse_connect.driver.client import Client

from backchannel_sinks.clickhouse.cluster import Cluster, shards_of

__all__ = [
    "NOTES",
    "VERSION_MIN",
    "Migration",
    "MigrationError",
    "applied",
    "check_version",
    "migrate",
    "migrations",
    "statements",
]

VERSION_MIN = (26, 3)
"""The oldest server: since 26.2 every insert is deduplicated by its token, and the sink counts on
that; 26.3 is the first with long support."""

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

NOTES = """
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
"""The statement that makes the table in which they are noted."""


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


def check_version(version: str) -> None:
    """Passes a server that is new enough.

    Raises:
        MigrationError: it is older than `VERSION_MIN`.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if numbers < VERSION_MIN:
        least = ".".join(map(str, VERSION_MIN))
        raise MigrationError(f"version {version} is too old, at least {least} is needed")


def migrate(client: Client, cluster: str = "") -> list[Migration]:
    """Applies what the client's database does not have yet, and returns it.

    With the name of a cluster every statement runs on all of its replicas, and tables replicate;
    they are spread over its shards, of which there are as many as when the database was made.

    Creates the database when there is none. Safe to repeat, to interrupt and to run twice at once:
    every statement may be repeated, and a migration is noted after its last one. Blocks.

    Raises:
        MigrationError: a migration that was applied is not the one of this version; or the server
            is too old, knows no such cluster, or has the tables of another kind of cluster.
        clickhouse_connect.driver.exceptions.ClickHouseError: ClickHouse is away or refuses.
    """
    check_version(client.server_version or "")
    where = _where(client, cluster)
    _create_database(client, where)
    for statement in where.statements(NOTES):
        client.command(statement)
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
            for each in where.statements(statement):
                client.command(each)
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


def _where(client: Client, name: str) -> Cluster:
    """Returns the cluster, and over how many shards the tables are spread or are to be."""
    if not name:
        return Cluster()
    (shards,) = client.query(
        "SELECT uniqExact(shard_num) FROM system.clusters WHERE cluster = {cluster:String}",
        parameters={"cluster": name},
    ).result_rows[0]
    if not shards:
        raise MigrationError(f"it knows no cluster {name!r}: see system.clusters")
    made = client.query(
        "SELECT engine_full FROM system.tables WHERE database = {database:String}"
        " AND name = 'events'",
        parameters={"database": client.database or ""},
    ).result_rows
    over = shards_of(str(made[0][0])) if made else int(shards)
    if over == 1 and shards > 1:
        raise MigrationError(
            f"the cluster {name!r} has {shards} shards, and the tables are there already, of one:"
            " make a new database, and move the rows with INSERT … SELECT"
        )
    return Cluster(name, over)


def _create_database(client: Client, where: Cluster) -> None:
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
        (statement,) = where.statements(f"CREATE DATABASE IF NOT EXISTS `{name}`")
        client.command(statement, use_database=False)


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
