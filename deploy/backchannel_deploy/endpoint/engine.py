"""chDB, the embedded ClickHouse: statements in, bytes out. Every call blocks; threads may call.

A statement runs on a connection of its own: about a millisecond, and settings, the current database
and what a failed statement left behind (chDB gives its bytes to the next one) end with it.
Only what a client's session must keep stays on a connection of that session.
Connections run side by side; readers do not wait for a writer.
"""

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Self

from backchannel_deploy.endpoint.connection import (
    Connection,
    apply_settings,
    connect,
    quoted,
    quoted_name,
    run,
)
from backchannel_deploy.endpoint.errors import ClickHouseError, engine_error
from backchannel_deploy.endpoint.layout import Layout
from backchannel_deploy.endpoint.sessions import Sessions, for_one_statement
from backchannel_deploy.endpoint.statement import leading_verb, leaves_something

__all__ = ["Engine", "Query", "Send", "Summary"]

# Each block chDB streams is encoded by itself: only formats without head, foot and totals may be
# put together again. All others are built whole first.
_STREAMABLE = frozenset({"Native", "RowBinary", "JSONEachRow", "JSONLines", "NDJSON"})
_PIECE_BYTES = 1 << 20
# Statements that have a result set, be it empty.
_ANSWERED = frozenset({"SELECT", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "KILL"})


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and all that goes with it."""

    sql: bytes
    format: str
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    reads_file: bool = False  # an INSERT whose data lies in a file
    session_id: str = ""
    session_s: int = 60
    role: str = ""  # of a reader: what the engine lets this statement see
    whole: bool = False  # an error must come instead of the result, never within it
    mark: str = ""  # by which `cancel` finds the statement


@dataclass(frozen=True, slots=True)
class Summary:
    """What a statement read and wrote."""

    returns_rows: bool
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0
    elapsed_ns: int = 0


# Takes a piece of the result; blocks while the client is slower; raises to end the statement.
Send = Callable[[bytes], None]


class Engine:
    """The engine on one data directory. There can be one in a process."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._keeper: Connection | None = None
        self._sessions = Sessions(partial(connect, layout))
        self.version = ""
        self.timezone = ""

    def __enter__(self) -> Self:
        if self._layout.is_new:
            self._layout.write_config(first_start=True)
            with closing(connect(self._layout)) as connection:
                run(connection, "DROP DATABASE default")
                run(connection, "CREATE DATABASE default ENGINE = Atomic")
        self._layout.write_config()
        # The engine stops with its last connection: one stays open for the process's life.
        self._keeper = connect(self._layout)
        facts = run(self._keeper, "SELECT version(), timezone()").bytes().decode()
        self.version, self.timezone = facts.strip().split("\t")
        return self

    def __exit__(self, *exc: object) -> None:
        self._sessions.close()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def run(self, query: Query, send: Send) -> Summary:
        """Runs one statement and sends its result piece by piece.

        Raises:
            ClickHouseError: the engine refused the statement or failed; with `whole` nothing was
                sent then.
        """
        # A reader changes nothing, so a session would hold nothing.
        if query.session_id and not query.role:
            create = leaves_something(query.sql)
            with self._sessions.kept(query.session_id, query.session_s, create=create) as kept:
                if kept is not None:
                    return _in_session(kept, query, send)
        with closing(connect(self._layout)) as connection:
            if query.database:
                run(connection, f"USE {quoted_name(query.database)}")
            apply_settings(connection, _settings(query))
            if query.role:
                run(connection, f"SET ROLE {query.role}")
            if query.read_only:
                # Last: a read-only connection may not change `readonly` again.
                run(connection, "SET readonly = 2")
            return _answer(connection, query, send)

    def cancel(self, mark: str) -> None:
        """Ends the statement with this mark, if it runs; does not wait for its end."""
        with closing(connect(self._layout)) as connection, suppress(ClickHouseError):
            run(connection, f"KILL QUERY WHERE Settings['log_comment'] = {quoted(mark)} ASYNC")


def _in_session(connection: Connection, query: Query, send: Send) -> Summary:
    verb = leading_verb(query.sql)
    if query.read_only and verb not in _ANSWERED:
        # `SET readonly` would stay for the whole session.
        raise ClickHouseError.named("READONLY", "default: Cannot execute query in readonly mode")
    with for_one_statement(
        connection, _settings(query), query.database, keep_database=verb == "USE"
    ):
        return _answer(connection, query, send)


def _answer(connection: Connection, query: Query, send: Send) -> Summary:
    verb = leading_verb(query.sql)
    if verb == "SELECT" and not query.whole and query.format in _STREAMABLE:
        return _stream(connection, query, send)
    return _whole(connection, query, send, returns_rows=verb in _ANSWERED)


def _settings(query: Query) -> dict[str, str]:
    settings = dict(query.settings)
    if query.mark:
        settings.setdefault("log_comment", query.mark)
    if query.reads_file:
        # A file is cut by max_block_size (65,409 rows), a server's INSERT by max_insert_block_size.
        # The cut is part of what a deduplication token stands for, even where the pieces are put
        # together again; so it must be the server's, and must not depend on timing.
        settings.setdefault("max_block_size", settings.get("max_insert_block_size", "1048449"))
        settings.setdefault("input_format_parallel_parsing", "0")
    return settings


def _whole(connection: Connection, query: Query, send: Send, *, returns_rows: bool) -> Summary:
    result = run(connection, query.sql, query.format, query.parameters)
    view = result.get_memview().view()  # no copy: the pieces below are the only ones
    for start in range(0, len(view), _PIECE_BYTES):
        send(bytes(view[start : start + _PIECE_BYTES]))
    wrote = result.rows_written()
    return Summary(
        returns_rows=returns_rows,
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=wrote,
        written_bytes=result.bytes_written(),
        result_rows=0 if wrote else result.rows_read(),
        result_bytes=len(view),
        elapsed_ns=int(result.elapsed() * 1e9),
    )


def _stream(connection: Connection, query: Query, send: Send) -> Summary:
    rows = read_rows = read_bytes = sent = 0
    elapsed = 0.0
    try:
        stream = connection.send_query(query.sql, query.format, params=query.parameters)
        try:
            while (piece := stream.fetch()) is not None:
                data = piece.bytes()
                send(data)
                sent += len(data)
                rows += piece.rows_read()
                read_rows += piece.storage_rows_read()
                read_bytes += piece.storage_bytes_read()
                elapsed += piece.elapsed()
        finally:
            stream.close()  # an abandoned stream is cancelled, a finished one is not touched
    except RuntimeError as error:
        raise engine_error(str(error)) from None
    return Summary(
        returns_rows=True,
        read_rows=read_rows,
        read_bytes=read_bytes,
        result_rows=rows,
        result_bytes=sent,
        elapsed_ns=int(elapsed * 1e9),
    )
