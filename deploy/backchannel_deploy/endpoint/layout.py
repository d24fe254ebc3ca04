"""The data directory: who uses it, where the engine and the request bodies lie, what may be done.

::

    DIR/lock            held by the one endpoint process
    DIR/engine/         chDB's own
    DIR/spool/          request bodies while they are being inserted; emptied at start
    DIR/endpoint.xml    the engine's configuration, written at every start
    DIR/users.xml       the roles and limits of the engine's one user
"""

import fcntl
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from xml.sax.saxutils import escape

from backchannel_deploy.disk import FREE_BYTES_MIN
from backchannel_deploy.endpoint.errors import EndpointError
from backchannel_sinks.clickhouse.access import READERS, grants

__all__ = ["Layout", "open_layout"]

# INFILE takes these as patterns, and quotes cannot be escaped in the engine's connection string.
_UNUSABLE = "*?{}[]'\"\\&#\n"

# Everything that tables need; nothing that names a file, a host, a program or another user.
_GRANTS = (
    "CHECK, SHOW, SELECT, INSERT, ALTER, CREATE, DROP, UNDROP TABLE, TRUNCATE, OPTIMIZE,"
    " KILL QUERY, dictGet, SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM MOVES, SYSTEM FLUSH,"
    " SYSTEM VIEWS, SYSTEM CLEANUP, SYSTEM RELOAD DICTIONARY, SYSTEM WAIT LOADING PARTS"
)
# Settings whose value is a file or an address.
_FIXED_SETTINGS = (
    "format_avro_schema_registry_url",
    "format_schema",
    "format_schema_source",
    "format_template_resultset",
    "format_template_row",
    "input_format_record_errors_file_path",
    "output_format_schema",
    "rename_files_after_processing",
    "url_base",
    "allow_introspection_functions",
)

_CONFIG = """<clickhouse>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
  <default_database>{overlay}</default_database>
  <database>default</database>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <mark_cache_size>268435456</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <storage_configuration><disks><default>
    <keep_free_space_bytes>{free}</keep_free_space_bytes>
  </default></disks></storage_configuration>
</clickhouse>
"""
_USERS = """<clickhouse>
  <profiles><default>
    <implicit_select>0</implicit_select>
    <allow_introspection_functions>0</allow_introspection_functions>
    <constraints>{constraints}</constraints>
  </default></profiles>
  <quotas><default/></quotas>
  <roles>{roles}</roles>
  <users><default>
    <password></password>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants><query>GRANT {names}</query></grants>
  </default></users>
</clickhouse>
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """An opened data directory; the lock is held until the process ends."""

    engine: Path
    spool: Path
    config: Path
    lock: TextIO
    database: str = "backchannel"
    """What the roles of readers are for."""

    @property
    def is_new(self) -> bool:
        """Whether the engine has never run here."""
        return not (self.engine / "metadata" / "default.sql").exists()

    def write_config(self, *, first_start: bool = False) -> None:
        """Writes the engine's configuration.

        chDB lays a view of the whole file system over its default database:
        `SELECT * FROM '/etc/…'`. An empty `default_database` turns that off, but then `default`
        must exist already: the very first start runs with it, to create the plain one.
        """
        users = self.config.with_name("users.xml")
        constraints = "".join(f"<{name}><const/></{name}>" for name in _FIXED_SETTINGS)
        # The engine has one user. Grants of its own would stay whatever role a connection takes, so
        # it has none: a connection has every role, and one of a reader gives up all but one.
        given = {"owner": [f"GRANT {_GRANTS} ON *.*"]}
        given |= {role: grants(role, self.database) for role in READERS}
        roles = "".join(f"<{role}>{_grants(its)}</{role}>" for role, its in given.items())
        users.write_text(
            _USERS.format(constraints=constraints, roles=roles, names=", ".join(given))
        )
        overlay = "default" if first_start else ""
        self.config.write_text(
            _CONFIG.format(users=escape(str(users)), overlay=overlay, free=FREE_BYTES_MIN)
        )


def _grants(statements: Sequence[str]) -> str:
    queries = "".join(f"<query>{escape(each)}</query>" for each in statements)
    return f"<grants>{queries}</grants>"


def open_layout(data_dir: Path, database: str = "backchannel") -> Layout:
    """Makes (mode 0700) and locks a data directory, and removes what a killed process left.

    ``database`` is the one that readers may ask.

    Raises:
        EndpointError: another process uses the directory, or its name cannot be used.
    """
    data_dir = data_dir.resolve()
    bad = sorted(set(str(data_dir)) & set(_UNUSABLE))
    if bad:
        raise EndpointError(
            f"the data directory's path may not contain {' '.join(bad)}: {data_dir}"
        )
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (data_dir / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise EndpointError(
            f"{data_dir} is in use by another endpoint process: stop it, or give --data-dir"
        ) from None
    os.set_inheritable(lock.fileno(), False)
    spool = data_dir / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(mode=0o700)
    engine = data_dir / "engine"
    engine.mkdir(mode=0o700, exist_ok=True)
    return Layout(engine, spool, data_dir / "endpoint.xml", lock, database)
