"""What any ClickHouse HTTP server must do for us, whether embedded or real.

The tests take a fixture `server: ClickHouse`, a fresh database on the server under test; a test
module that defines it and imports these tests runs them: tests/integration/test_endpoint.py.
"""

import asyncio
import gzip
import json
import sys
import time
from base64 import b64encode
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import clickhouse_connect
import lz4.frame
import pyarrow  # type: ignore[import-untyped]  # it has no types
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from support.endpoint import ClickHouse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Sent with every block of the sink: the body is one block, whatever the server's version.
ONE_BLOCK: dict[str, Any] = {
    "async_insert": "0",
    "max_insert_block_size": "10000000",
    "min_insert_block_size_rows": "10000000",
    "min_insert_block_size_bytes": "0",
    "input_format_parallel_parsing": "0",
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, bad statuses included."""

    status: int
    body: bytes
    headers: Message


def ask(
    server: ClickHouse,
    body: bytes | str = b"",
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
    **parameters: object,
) -> Answer:
    """One request without any client's help, in the test's database."""
    address = urlsplit(server.url)
    sent = dict(headers or {})
    if address.username:
        user = f"{address.username}:{address.password}".encode()
        sent["Authorization"] = f"Basic {b64encode(user).decode()}"
    query = urlencode({"database": server.database, **parameters})
    url = f"http://{address.hostname}:{address.port}/?{query}"
    data = (body.encode() if isinstance(body, str) else body) if method == "POST" else None
    request = Request(url, data, sent, method=method)
    try:
        with urlopen(request, timeout=60) as response:
            return Answer(response.status, response.read(), response.headers)
    except HTTPError as error:
        with error:
            return Answer(error.code, error.read(), error.headers)


def make_table(server: ClickHouse) -> None:
    created = ask(
        server,
        "CREATE TABLE t (a UInt64, s String DEFAULT 'none') ENGINE = MergeTree ORDER BY a"
        " SETTINGS non_replicated_deduplication_window = 1000",
    )
    assert created.status == 200, created.body


def rows(server: ClickHouse) -> bytes:
    return ask(server, "SELECT a, s FROM t ORDER BY a").body


# Selects


def test_ping(server: ClickHouse) -> None:
    with server.client() as client:
        assert client.ping()


def test_rows_come_as_tab_separated_by_default(server: ClickHouse) -> None:
    answer = ask(server, "SELECT 1, 'a\\tb'")
    assert (answer.status, answer.body) == (200, b"1\ta\\tb\n")
    assert answer.headers["X-ClickHouse-Format"] == "TabSeparated"


@pytest.mark.parametrize(
    ("parameters", "headers", "sql", "body"),
    [
        ({"default_format": "CSV"}, {}, "SELECT 1, 'x'", b'1,"x"\n'),
        ({}, {"X-ClickHouse-Format": "CSV"}, "SELECT 1, 'x'", b'1,"x"\n'),
        ({"default_format": "CSV"}, {}, "SELECT 1 AS a FORMAT JSONEachRow", b'{"a":1}\n'),
    ],
)
def test_the_format_is_the_querys_else_the_requests(
    server: ClickHouse, parameters: dict[str, str], headers: dict[str, str], sql: str, body: bytes
) -> None:
    assert ask(server, sql, headers, **parameters).body == body


def test_the_query_may_be_in_the_url_in_the_body_or_in_both(server: ClickHouse) -> None:
    assert ask(server, query="SELECT 1 + 1").body == b"2\n"
    assert ask(server, "SELECT 1 + 1").body == b"2\n"
    assert ask(server, "+ 1", query="SELECT 1").body == b"2\n"


def test_parameters_are_values_and_never_sql(server: ClickHouse) -> None:
    answer = ask(server, "SELECT {n:UInt8} + 1, {s:String}", param_n=1, param_s="'; DROP TABLE t")
    assert answer.body == b"2\t\\'; DROP TABLE t\n"


def test_settings_hold_for_one_request(server: ClickHouse) -> None:
    sql = "SELECT getSetting('max_block_size')"
    assert ask(server, sql, max_block_size=77).body == b"77\n"
    assert ask(server, sql).body != b"77\n"


def test_totals_stay(server: ClickHouse) -> None:
    sql = "SELECT number % 2 AS k, count() FROM numbers(4) GROUP BY k WITH TOTALS ORDER BY k"
    assert ask(server, sql).body == b"0\t2\n1\t2\n\n0\t4\n"


@pytest.mark.parametrize("fmt", ["TabSeparatedWithNames", "JSONEachRow", "Native", "CSV"])
def test_a_large_result_is_whole(server: ClickHouse, fmt: str) -> None:
    sql = "SELECT number, repeat('x', 100) AS s FROM numbers(300000)"
    answer = ask(server, f"{sql} FORMAT {fmt}")
    counted = ask(server, answer.body, query=f"INSERT INTO counted FORMAT {fmt}")
    assert counted.status == 404
    ask(server, "CREATE TABLE counted (number UInt64, s String) ENGINE = Memory")
    assert ask(server, f"INSERT INTO counted FORMAT {fmt}\n".encode() + answer.body).status == 200
    sums = ask(server, "SELECT count(), sum(number), min(length(s)) FROM counted").body
    assert sums == b"300000\t44999850000\t100\n"


def test_answers_are_compressed_where_asked(server: ClickHouse) -> None:
    sql = "SELECT number FROM numbers(500000)"
    plain = ask(server, sql).body
    unfolds = {"gzip": gzip.decompress, "lz4": lz4.frame.decompress, "zstd": zstd.decompress}
    for coding, unfold in unfolds.items():
        answer = ask(server, sql, {"Accept-Encoding": coding}, enable_http_compression=1)
        assert answer.headers["Content-Encoding"] == coding
        assert unfold(answer.body) == plain


def test_get_is_read_only(server: ClickHouse) -> None:
    assert ask(server, method="GET", query="SELECT 1").body == b"1\n"
    refused = ask(server, method="GET", query="CREATE TABLE r (a UInt8) ENGINE = Memory")
    assert refused.headers["X-ClickHouse-Exception-Code"] == "164"


def test_headers_say_what_was_done(server: ClickHouse) -> None:
    make_table(server)
    answer = ask(server, "INSERT INTO t (a) VALUES (1), (2)", query_id="mine-1")
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine-1"
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert {"X-ClickHouse-Server-Display-Name", "X-ClickHouse-Timezone"} <= {*answer.headers}
    read = ask(server, "SELECT sum(a) FROM t", wait_end_of_query=1)
    assert json.loads(read.headers["X-ClickHouse-Summary"])["read_rows"] == "2"


# Errors


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT nope", 47, 404),
        ("SELECT * FROM nope", 60, 404),
        ("SELECT 1 +", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT 1 SETTINGS nope = 1", 115, 404),
        ("SELECT 1 FORMAT Nope", 73, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", None, None),
        ("INSERT INTO nope FORMAT CSV\n1", 60, 404),
        ("INSERT INTO t (a) FORMAT TSV\nx", 27, 400),
    ],
)
def test_errors_are_clickhouses(
    server: ClickHouse, sql: str, code: int | None, status: int | None
) -> None:
    make_table(server)
    answer = ask(server, sql)
    assert answer.body.startswith(b"Code: ")
    assert b"DB::Exception" in answer.body
    assert answer.status >= 400
    if code is not None:
        assert (answer.headers["X-ClickHouse-Exception-Code"], answer.status) == (str(code), status)


def test_an_unknown_setting_or_database_in_the_url_is_an_error(server: ClickHouse) -> None:
    assert ask(server, "SELECT 1", nope=1).status == 404
    unknown = ClickHouse(server.url, "no_such_database")
    assert ask(unknown, "SELECT 1").headers["X-ClickHouse-Exception-Code"] == "81"


def test_an_error_after_the_first_rows_is_no_whole_answer(server: ClickHouse) -> None:
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    with server.client() as client, pytest.raises(DatabaseError, match="395"):
        client.query(sql)
    with (
        server.client() as client,
        client.query_row_block_stream(sql) as stream,
        pytest.raises(Exception, match="FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
    ):
        for _ in stream:
            pass


def test_a_failed_statement_leaves_nothing_for_the_next(server: ClickHouse) -> None:
    ask(server, "SELECT throwIf(number = 100000) FROM numbers(200000)")
    assert ask(server, "SELECT 1").body == b"1\n"


# Inserts

TWO_ROWS = b"1\tone\n2\ttwo\n"


def _parquet() -> bytes:
    table = pyarrow.table({"a": pyarrow.array([1, 2], "uint64"), "s": ["one", "two"]})
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def _arrow() -> bytes:
    table = pyarrow.table({"a": pyarrow.array([1, 2], "uint64"), "s": ["one", "two"]})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("fmt", "data"),
    [
        ("TabSeparated", TWO_ROWS),
        ("CSV", b'1,one\r\n2,"two"'),
        ("Values", b"(1, 'one'), (1 + 1, 'two');"),
        ("JSONEachRow", b'{"a": 1, "s": "one"}\n{"a": 2, "s": "two"}'),
        ("RowBinary", b"\x01" + bytes(7) + b"\x03one\x02" + bytes(7) + b"\x03two"),
        ("Parquet", _parquet()),
        ("Arrow", _arrow()),
    ],
)
@pytest.mark.parametrize("where", ["in one body", "in the url"])
def test_data_of_every_format_is_stored(
    server: ClickHouse, fmt: str, data: bytes, where: str
) -> None:
    make_table(server)
    statement = f"INSERT INTO t (a, s) FORMAT {fmt}"
    if where == "in the url":
        answer = ask(server, data, query=statement)
    else:
        answer = ask(server, f"{statement}\n".encode() + data)
    assert (answer.status, rows(server)) == (200, TWO_ROWS), answer.body


@pytest.mark.parametrize(
    ("coding", "fold"),
    [("gzip", gzip.compress), ("lz4", lz4.frame.compress), ("zstd", zstd.compress)],
)
def test_compressed_bodies_are_stored(server: ClickHouse, coding: str, fold: object) -> None:
    make_table(server)
    assert callable(fold)
    body = fold(b"INSERT INTO t FORMAT TSV\n" + TWO_ROWS)
    assert ask(server, body, {"Content-Encoding": coding}).status == 200
    assert rows(server) == TWO_ROWS


def test_inline_values_take_parameters_and_defaults(server: ClickHouse) -> None:
    make_table(server)
    ask(server, "INSERT INTO t (a) VALUES ({x:UInt8}), (2)", param_x=1)
    assert rows(server) == b"1\tnone\n2\tnone\n"


def test_insert_select_and_comments(server: ClickHouse) -> None:
    make_table(server)
    ask(server, "INSERT INTO t -- FORMAT CSV\n/* VALUES */ SELECT number, 'x' FROM numbers(2)")
    assert rows(server) == b"0\tx\n1\tx\n"


def test_comments_nest(server: ClickHouse) -> None:
    assert ask(server, "SELECT 1 /* /* */ + 1 */").body == b"1\n"


def test_broken_data_stores_nothing(server: ClickHouse) -> None:
    make_table(server)
    answer = ask(server, "INSERT INTO t FORMAT TSV\n1\tone\nx\ttwo\n")
    assert answer.status == 400
    assert rows(server) == b""


# Blocks and deduplication


def lines(first: int, count: int) -> bytes:
    return b"".join(b'{"a":%d,"s":"%0580d"}\n' % (first + i, i) for i in range(count))


def parts(server: ClickHouse) -> bytes:
    return ask(
        server,
        "SELECT count(), sum(rows) FROM system.parts"
        " WHERE active AND database = currentDatabase() AND table = 't'",
    ).body


def test_one_body_is_one_block_and_its_token_names_it(server: ClickHouse) -> None:
    make_table(server)
    body = b"INSERT INTO t FORMAT JSONEachRow\n" + lines(0, 60_000)
    ask(server, "SYSTEM STOP MERGES t")
    for _ in range(2):
        settings: dict[str, Any] = {**ONE_BLOCK, "insert_deduplication_token": "events-0-0-59999"}
        assert ask(server, body, **settings).status == 200
        assert parts(server) == b"1\t60000\n"


def test_a_token_means_the_same_in_the_url_and_in_the_statement(server: ClickHouse) -> None:
    make_table(server)
    settings: dict[str, Any] = {**ONE_BLOCK, "insert_deduplication_token": "x"}
    clause = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
    ask(server, b"INSERT INTO t FORMAT JSONEachRow\n" + lines(0, 10), **settings)
    ask(server, f"INSERT INTO t SETTINGS {clause} FORMAT JSONEachRow\n".encode() + lines(0, 10))
    assert ask(server, "SELECT count() FROM t").body == b"10\n"


def test_another_token_is_another_block(server: ClickHouse) -> None:
    make_table(server)
    body = b"INSERT INTO t FORMAT JSONEachRow\n" + lines(0, 10)
    for token in ("x", "y"):
        ask(server, body, **ONE_BLOCK, insert_deduplication_token=token)
    assert ask(server, "SELECT count() FROM t").body == b"20\n"


def test_blocks_are_cut_where_the_client_asks_for_it(server: ClickHouse) -> None:
    make_table(server)
    ask(server, "SYSTEM STOP MERGES t")
    body = b"INSERT INTO t FORMAT JSONEachRow\n" + lines(0, 1000)
    ask(
        server,
        body,
        async_insert=0,
        max_insert_block_size=100,
        min_insert_block_size_rows=0,
        min_insert_block_size_bytes=0,
        input_format_parallel_parsing=0,
    )
    assert parts(server) == b"10\t1000\n"


# Sessions


def test_a_session_keeps_settings_database_and_temporary_tables(server: ClickHouse) -> None:
    session: dict[str, Any] = {"session_id": f"{server.database}-1", "session_timeout": 60}
    ask(server, "CREATE TEMPORARY TABLE kept (a UInt8)", **session)
    ask(server, "INSERT INTO kept VALUES (1), (2)", **session)
    ask(server, "SET max_block_size = 77", **session)
    sql = "SELECT count(), getSetting('max_block_size') FROM kept"
    assert ask(server, sql, **session).body == b"2\t77\n"
    assert ask(server, sql, session_id="another").status == 404


def test_a_requests_settings_do_not_stay_in_its_session(server: ClickHouse) -> None:
    session: dict[str, Any] = {"session_id": f"{server.database}-2"}
    ask(server, "SET max_block_size = 77", **session)
    sql = "SELECT getSetting('max_block_size')"
    assert ask(server, sql, **session, max_block_size=5).body == b"5\n"
    assert ask(server, sql, **session).body == b"77\n"
    assert ask(server, "SELECT throwIf(number = 100) FROM numbers(200)", **session).status == 500
    assert ask(server, sql, **session).body == b"77\n"


def test_a_session_does_one_thing_at_a_time(server: ClickHouse) -> None:
    session: dict[str, Any] = {"session_id": f"{server.database}-3"}
    ask(server, "SET max_block_size = 1", **session)
    slow = "SELECT sleepEachRow(0.1) FROM numbers(10)"
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, server, slow, **session)
        time.sleep(0.4)
        locked = ask(server, "SELECT 1", **session)
        assert locked.headers["X-ClickHouse-Exception-Code"] == "373"
        assert running.result().status == 200


# clickhouse-connect, unchanged


def test_clickhouse_connect_writes_and_reads(server: ClickHouse) -> None:
    make_table(server)
    with server.client() as client:
        client.insert("t", [[1, "one"]], column_names=["a", "s"])
        client.raw_insert("t", ["a", "s"], b"2\ttwo\n", fmt="TSV")
        client.command("INSERT INTO t (a) VALUES (3)")
        found = client.query("SELECT a, s FROM t WHERE a <= {n:UInt8} ORDER BY a", {"n": 9})
        assert found.result_rows == [(1, "one"), (2, "two"), (3, "none")]
        assert client.command("SELECT count() FROM t") == 3
        assert client.query_arrow("SELECT a FROM t").num_rows == 3
        assert client.query("SELECT a FROM t LIMIT 0").column_names == ("a",)
        assert client.raw_query("SELECT max(a) FROM t", fmt="CSV") == b"3\n"


@pytest.mark.parametrize("compress", ["gzip", "lz4", "zstd", False])
def test_clickhouse_connect_compresses(server: ClickHouse, compress: str | bool) -> None:
    make_table(server)
    with server.client(compress=compress) as client:
        client.insert("t", [[i, "x" * 100] for i in range(20_000)], column_names=["a", "s"])
        assert len(client.query("SELECT * FROM t").result_rows) == 20_000


async def test_clickhouse_connect_asks_without_blocking(server: ClickHouse) -> None:
    client = await clickhouse_connect.get_async_client(dsn=server.url)
    try:
        found = await asyncio.gather(*(client.command(f"SELECT {n}") for n in range(3)))
    finally:
        await client.close()
    assert found == [0, 1, 2]


def test_clickhouse_connect_reads_and_writes_data_frames(server: ClickHouse) -> None:
    make_table(server)
    with server.client() as client:
        client.insert_df("t", client.query_df("SELECT toUInt64(number) AS a FROM numbers(3)"))
        assert client.query_df("SELECT a FROM t ORDER BY a").a.tolist() == [0, 1, 2]


def test_a_statement_ends_when_its_time_is_over(server: ClickHouse) -> None:
    slow = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1"
    with server.client() as client, pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
        client.query(slow, settings={"max_execution_time": 1})


def test_clickhouse_connect_streams(server: ClickHouse) -> None:
    with server.client() as client:
        sql = "SELECT number, toString(number) FROM numbers(1000000)"
        with client.query_row_block_stream(sql) as blocks:
            assert sum(len(block) for block in blocks) == 1_000_000


def test_many_clients_at_once(server: ClickHouse) -> None:
    make_table(server)

    def work(worker: int) -> int:
        with server.client() as client:
            client.insert("t", [[worker, "x"]], column_names=["a", "s"])
            return int(client.query("SELECT {n:UInt32} * 2", {"n": worker}).result_rows[0][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(32))) == [worker * 2 for worker in range(32)]
    assert ask(server, "SELECT count(), uniqExact(a) FROM t").body == b"32\t32\n"
