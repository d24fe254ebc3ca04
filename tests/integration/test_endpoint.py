"""The embedded ClickHouse endpoint, as a process, and the contract that it shares with servers."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from testcontainers.community.clickhouse import ClickHouseContainer

from backchannel_deploy.disk import FREE_BYTES_MIN
from contract.clickhouse_http import *  # noqa: F403  # pytest collects the contract's tests here
from contract.clickhouse_http import ONE_BLOCK, Answer, ask, lines, make_table
from support.endpoint import ClickHouse, EndpointProcess, fresh_database

pytestmark = pytest.mark.integration

MakeEndpoint = Callable[..., EndpointProcess]
SLOW = "SELECT sleepEachRow(0.1) FROM numbers({}) SETTINGS max_block_size = 1"


@pytest.fixture(
    params=["embedded", pytest.param("container", marks=pytest.mark.container)], scope="session"
)
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The servers that the contract is held to."""
    if request.param == "embedded":
        yield request.getfixturevalue("shared_endpoint").url
        return
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        pytest.skip("no Docker engine here")

    with ClickHouseContainer("clickhouse/clickhouse-server:latest") as container:
        port = container.get_exposed_port(8123)
        user = f"{container.username}:{container.password}"
        yield f"http://{user}@{container.get_container_host_ip()}:{port}"


@pytest.fixture
def server(server_url: str) -> Iterator[ClickHouse]:
    """A fresh database on the server under test."""
    with fresh_database(server_url) as database:
        yield database


def default(endpoint: EndpointProcess) -> ClickHouse:
    return ClickHouse(endpoint.url, "default")


def in_background(endpoint: EndpointProcess, sql: str) -> tuple[threading.Thread, list[Answer]]:
    """Sends a statement and comes back when it runs; its answer arrives in the list."""
    answers: list[Answer] = []

    def run() -> None:
        with suppress(OSError, HTTPException):
            answers.append(ask(default(endpoint), sql))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(0.5)
    return thread, answers


# Its life


def test_rows_survive_a_kill(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse()
    ask(default(endpoint), "CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    ask(default(endpoint), "INSERT INTO t VALUES (1)")
    url = endpoint.url
    endpoint.kill()
    endpoint.start()
    assert endpoint.url == url
    assert ask(default(endpoint), "SELECT a FROM t").body == b"1\n"


def test_the_engine_never_meets_the_end_of_the_disk(shared_endpoint: EndpointProcess) -> None:
    """It would take no notice of a write that fails, and say that the rows are stored."""
    asked = "SELECT keep_free_space FROM system.disks WHERE name = 'default'"

    with shared_endpoint.client() as client:
        assert client.query(asked).result_rows == [(FREE_BYTES_MIN,)]


def test_a_kill_within_an_insert_leaves_no_file(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse()
    with socket.create_connection(("127.0.0.1", endpoint.port)) as client:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n"
        client.sendall(head + b"INSERT INTO t FORMAT TSV\n" + b"1\n" * 1_000_000)
        spool = endpoint.data_dir / "spool"
        wait_until(lambda: any(spool.iterdir()))
        endpoint.kill()
    assert any(spool.iterdir())
    endpoint.start()
    assert not any(spool.iterdir())


def test_a_retried_block_is_stored_once_across_kills(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse()
    database = default(endpoint)
    make_table(database)
    for block in range(5):
        body = b"INSERT INTO t FORMAT JSONEachRow\n" + lines(block * 5000, 5000)
        settings: dict[str, Any] = {**ONE_BLOCK, "insert_deduplication_token": f"block-{block}"}
        # At another moment of the insert each time: before, within, or after it was stored.
        killer = threading.Timer(0.01 + 0.02 * block, endpoint.kill)
        killer.start()
        with suppress(OSError, HTTPException):
            ask(database, body, **settings)
        killer.join()
        endpoint.start()
        assert ask(database, body, **settings).status == 200
        stored = ask(database, "SELECT count(), uniqExact(a) FROM t").body
        assert stored == b"%d\t%d\n" % ((block + 1) * 5000, (block + 1) * 5000)


def test_sigterm_lets_a_running_statement_end(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse()
    thread, answers = in_background(endpoint, SLOW.format(20))
    endpoint.stop()
    thread.join(10)
    assert [answer.status for answer in answers] == [200]
    assert "endpoint_stopped" in endpoint.log()


def test_sigterm_does_not_wait_for_ever(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse("--stop-timeout-s", "1")
    in_background(endpoint, SLOW.format(600))
    started = time.monotonic()
    endpoint.stop()
    assert time.monotonic() - started < 10
    assert "stopped_with_statements_running" in endpoint.log()
    endpoint.start()
    assert ask(default(endpoint), "SELECT 1").body == b"1\n"


def test_a_second_process_on_the_same_data_says_so(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse()
    second = EndpointProcess(endpoint.data_dir)
    with pytest.raises(RuntimeError, match="is in use by another endpoint process"):
        second.start()
    assert ask(default(endpoint), "SELECT 1").body == b"1\n"


def test_a_taken_port_is_named(private_clickhouse: MakeEndpoint, tmp_path: Path) -> None:
    second = EndpointProcess(tmp_path / "second")
    second.port = private_clickhouse().port
    with pytest.raises(RuntimeError, match="cannot listen on"):
        second.start()


def test_it_is_gone_when_its_parent_is(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'backchannel_deploy.endpoint', '--port', '0',"
        " '--data-dir', sys.argv[1]]\n"
        "environment = {**os.environ, 'BACKCHANNEL_PARENT_PID': str(os.getpid())}\n"
        "print(subprocess.Popen(command, env=environment).pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.stdout.readline()  # "listening on": it is up
        parent.kill()
    psutil.wait_procs([child], timeout=15)
    assert not child.is_running()


def test_the_data_is_its_owners(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse()
    for path in (endpoint.data_dir / "spool", endpoint.data_dir / "engine"):
        assert path.stat().st_mode & 0o077 == 0, path


# Load


def test_ping_and_short_selects_answer_during_a_long_insert(
    private_clickhouse: MakeEndpoint,
) -> None:
    endpoint = private_clickhouse()
    ask(default(endpoint), "CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a")
    body = b"INSERT INTO t FORMAT JSONEachRow\n" + lines(0, 1000) * 400
    insert = threading.Thread(target=ask, args=(default(endpoint), body))
    insert.start()
    slowest = 0.0
    while insert.is_alive():
        started = time.monotonic()
        assert ask(default(endpoint), "SELECT 1").body == b"1\n"
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 2
    assert ask(default(endpoint), "SELECT count() FROM t").body == b"400000\n"


def test_beyond_the_queue_the_answer_is_too_many(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse("--running-max", "1", "--waiting-max", "1")
    running = [in_background(endpoint, SLOW.format(20)) for _ in range(2)]
    refused = ask(default(endpoint), "SELECT 1")
    assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (503, "202")
    assert b"Too many simultaneous queries" in refused.body
    with urlopen(f"{endpoint.url}/ping", timeout=5) as pong:
        assert pong.read() == b"Ok.\n"
    for thread, answers in running:
        thread.join(20)
        assert [answer.status for answer in answers] == [200]
    assert ask(default(endpoint), "SELECT 1").body == b"1\n"


def test_a_client_that_does_not_read_holds_up_nobody(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse("--running-max", "2")
    sql = b"SELECT number, repeat('x', 100) FROM numbers(100000000) FORMAT JSONEachRow"
    with socket.create_connection(("127.0.0.1", endpoint.port)) as deaf:
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sql)}\r\n\r\n"
        deaf.sendall(head.encode() + sql)
        time.sleep(1)
        assert ask(default(endpoint), "SELECT 1").body == b"1\n"
        assert psutil.Process(endpoint.pid).memory_info().rss < 1 << 30
    wait_until(lambda: "client_gone" in endpoint.log())
    assert "Traceback" not in endpoint.log()


@pytest.mark.parametrize("whole", ["", "&wait_end_of_query=1"])
def test_a_question_ends_when_its_client_is_gone(
    shared_endpoint: EndpointProcess, whole: str
) -> None:
    sql = b"SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 4711"
    running = (
        "SELECT count() FROM system.processes WHERE query LIKE '%4711%' AND query LIKE {n:String}"
    )

    def asked() -> bytes:
        return ask(default(shared_endpoint), running, param_n="SELECT count() FROM numbers%").body

    with socket.create_connection(("127.0.0.1", shared_endpoint.port)) as client:
        head = f"POST /?{whole} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sql)}\r\n\r\n"
        client.sendall(head.encode() + sql)
        wait_until(lambda: asked() == b"1\n")
    wait_until(lambda: asked() == b"0\n")


# Who may ask for what


def test_a_password_is_asked_for_and_never_logged(private_clickhouse: MakeEndpoint) -> None:
    endpoint = private_clickhouse(
        BACKCHANNEL_ENDPOINT_USER="ana", BACKCHANNEL_ENDPOINT_PASSWORD="s3cret-canary"
    )
    assert ask(default(endpoint), "SELECT 1").status == 403
    assert ask(default(endpoint), "SELECT 1", user="ana", password="wrong-canary").status == 403
    with endpoint.client(username="ana", password="s3cret-canary") as client:
        assert client.command("SELECT 1") == 1
    with pytest.raises(DatabaseError, match="516"):
        endpoint.client(username="ana", password="wrong-canary")
    assert "canary" not in endpoint.log()


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://example.org"}, {"Host": "rebound.example.org"}]
)
def test_web_pages_are_refused(clickhouse: ClickHouse, headers: dict[str, str]) -> None:
    assert ask(clickhouse, "SELECT 1", headers).status == 403


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('{}', 'LineAsString')",
        "SELECT file('{}')",
        "SELECT * FROM `{}`",
        "SELECT * FROM '{}'",
        "SELECT * FROM default.`{}`",
        "INSERT INTO FUNCTION file('{}', 'CSV', 'a String') SELECT 'x'",
        "INSERT INTO FUNCTION file('{}', 'CSV', 'a String') VALUES ('x')",
        "CREATE TABLE f (a String) ENGINE = File(CSV, '{}')",
        "CREATE DATABASE d ENGINE = Filesystem('{}')",
        "CREATE TABLE k (a UInt8) ENGINE = EmbeddedRocksDB(0, '{}') PRIMARY KEY a",
        "CREATE TABLE m (a UInt8) ENGINE=Log SETTINGS disk=disk(type=local, path='{}')",
        "ATTACH TABLE x FROM '{}' (a UInt8) ENGINE = MergeTree ORDER BY a",
        "BACKUP DATABASE default TO File('{}')",
        "RESTORE DATABASE default FROM File('{}')",
        "SELECT 1 FORMAT Template SETTINGS format_template_resultset = '{}'",
        "SELECT * FROM format(Template, 'x') SETTINGS format_template_row = '{}'",
        "SELECT 1 FORMAT Protobuf SETTINGS format_schema = '{}:M'",
        "SELECT * FROM sqlite('{}', 't')",
        "SELECT * FROM icebergLocal('{}')",
        "SELECT * FROM deltaLakeLocal('{}')",
        "SELECT * FROM filesystem('{}')",
        "SELECT * FROM url('file://{}')",
        "SELECT 1 INTO OUTFILE '{}.out'",
        "INSERT INTO t FROM INFILE '{}' FORMAT CSV",
    ],
)
def test_no_statement_reaches_a_file(clickhouse: ClickHouse, sql: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("canary")
    answer = ask(clickhouse, sql.format(secret))
    assert answer.status >= 400
    assert b"canary" not in answer.body
    assert [path.read_text() for path in tmp_path.iterdir()] == ["canary"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nINSERT INTO t VALUES (",
        b"GET /?query=%ff%00%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /?max_threads=%27%3B HTTP/1.1\r\nHost: [\r\n\r\n",
        b"POST /?database=%60 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n\x80((\x00",
    ],
)
def test_a_bad_request_hurts_nobody(shared_endpoint: EndpointProcess, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared_endpoint.port), timeout=5) as client:
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while client.recv(65536):
                pass
    assert ask(default(shared_endpoint), "SELECT 1").body == b"1\n"
    wait_until(lambda: not any((shared_endpoint.data_dir / "spool").iterdir()))


def test_default_stays(clickhouse: ClickHouse) -> None:
    assert ask(clickhouse, "DROP DATABASE default").status == 403
    assert ask(ClickHouse(clickhouse.url, "default"), "SELECT 1").body == b"1\n"


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
