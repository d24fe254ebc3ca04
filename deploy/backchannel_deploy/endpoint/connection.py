"""chDB's connection with types, its errors turned into ClickHouse's, and how SQL is quoted."""

from collections.abc import Mapping
from typing import Protocol

import chdb

from backchannel_deploy.endpoint.errors import ClickHouseError, engine_error
from backchannel_deploy.endpoint.layout import Layout

__all__ = ["Connection", "Result", "apply_settings", "connect", "quoted", "quoted_name", "run"]


class Result(Protocol):
    def bytes(self) -> bytes: ...
    def get_memview(self) -> "View": ...
    def rows_read(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...
    def elapsed(self) -> float: ...


class View(Protocol):
    def view(self) -> memoryview: ...


class Stream(Protocol):
    def fetch(self) -> Result | None: ...
    def close(self) -> None: ...


class Connection(Protocol):
    def query(
        self, sql: str | bytes, fmt: str, params: Mapping[str, str] | None = None
    ) -> Result: ...
    def send_query(
        self, sql: str | bytes, fmt: str, params: Mapping[str, str] | None = None
    ) -> Stream: ...
    def close(self) -> None: ...


def connect(layout: Layout) -> Connection:
    """Another connection to the engine; the first one starts it, the last one's end stops it."""
    connection: Connection = chdb.connect(  # type: ignore[no-untyped-call]  # it has no types
        f"{layout.engine}?config-file={layout.config}"
    )
    return connection


def run(
    connection: Connection,
    sql: str | bytes,
    fmt: str = "TabSeparated",
    parameters: Mapping[str, str] | None = None,
) -> Result:
    """Runs a statement to its end.

    Raises:
        ClickHouseError: the engine refused or failed.
    """
    try:
        return connection.query(sql, fmt, params=parameters)
    except RuntimeError as error:
        raise engine_error(str(error)) from None


def apply_settings(connection: Connection, settings: Mapping[str, str]) -> None:
    """Changes settings for all that follows on this connection.

    Raises:
        ClickHouseError: there is no such setting, it may not be changed, or not to this value.
    """
    if settings:
        pairs = (f"{_setting_name(k)} = {quoted(v)}" for k, v in settings.items())
        run(connection, f"SET {', '.join(pairs)}")


def _setting_name(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise ClickHouseError(115, "UNKNOWN_SETTING", "DB::Exception: Setting name is not valid")
    return name


def quoted(value: str) -> str:
    # Quoted always: the engine turns text into the setting's type, and a bare number is no String.
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted_name(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
