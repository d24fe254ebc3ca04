"""A real embedded ClickHouse for tests: one shared by the session, and private ones to be hurt.

``clickhouse`` is the shared endpoint with a database of the test's own.
``private_clickhouse`` starts endpoints of the test's own, with data below ``tmp_path``.
Every process is ended by its id when its fixture ends, also after a failure.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from backchannel_deploy.up.parent import PARENT_PID

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


class EndpointProcess:
    """One endpoint with a data directory and a port of its own; methods block (a start: 1 s)."""

    def __init__(
        self,
        data_dir: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = 0
        self._options = options
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its HTTP address; the same before and after a restart."""
        assert self.port, "start the endpoint first"
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "start the endpoint first"
        return self._process.pid

    def start(self) -> None:
        """Start it, on the same data and port as before, and wait until it listens."""
        assert self._process is None, "it runs already"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "endpoint.log").open("ab") as errors:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "backchannel_deploy.endpoint"),
                    *("--data-dir", str(self.data_dir), "--port", str(self.port)),
                    *self._options,
                ],
                # It ends with us, even when pytest is killed.
                env={**os.environ, **self._environment, PARENT_PID: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for pytest, which then stops us
            )
        self._process = process
        assert process.stdout is not None
        impatient = threading.Timer(READY_TIMEOUT_S, process.kill)
        impatient.start()
        line = process.stdout.readline().decode()
        impatient.cancel()
        if not line.startswith("listening on "):
            self.kill()
            raise RuntimeError(f"the endpoint did not start: {self.log()[-2000:]}")
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self) -> None:
        """End it as an operator would (SIGTERM), or by force when that takes too long."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once (SIGKILL): nothing is closed, nothing is flushed."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def client(self, **options: Any) -> Client:
        """A client of clickhouse-connect, as any other user of a server makes it."""
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.port, **options)

    def log(self) -> str:
        """What the endpoint has logged."""
        return (self.data_dir / "endpoint.log").read_text(encoding="utf-8")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused one notices SIGTERM only now
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            assert process.stdout is not None
            process.stdout.close()


@dataclass(frozen=True, slots=True)
class ClickHouse:
    """A database of one test on a ClickHouse: the shared endpoint, or any other."""

    url: str
    database: str

    def client(self, **options: Any) -> Client:
        """A client whose statements run in this test's database."""
        return clickhouse_connect.get_client(dsn=f"{self.url}/{self.database}", **options)


@pytest.fixture(scope="session")
def shared_endpoint() -> Iterator[EndpointProcess]:
    """The endpoint that tests share; ask for `clickhouse` instead."""
    with tempfile.TemporaryDirectory(prefix="backchannel-clickhouse-") as folder:
        endpoint = EndpointProcess(Path(folder))
        try:
            endpoint.start()
            yield endpoint
        finally:
            endpoint.stop()


@pytest.fixture
def clickhouse(shared_endpoint: EndpointProcess) -> Iterator[ClickHouse]:
    """A running ClickHouse with a fresh database, which is dropped after the test."""
    with fresh_database(shared_endpoint.url) as database:
        yield database


@pytest.fixture
def private_clickhouse(tmp_path: Path) -> Iterator[Callable[..., EndpointProcess]]:
    """Makes endpoints to be hurt, started already: `private_clickhouse("--option", NAME="…")`."""
    with ExitStack() as ending:

        def make(*options: str, **environment: str) -> EndpointProcess:
            folder = tmp_path / f"clickhouse-{uuid.uuid4().hex}"
            endpoint = EndpointProcess(folder, options, environment)
            ending.callback(endpoint.kill)
            endpoint.start()
            return endpoint

        yield make


@contextmanager
def fresh_database(url: str) -> Iterator[ClickHouse]:
    """A database with a name that nobody else has; dropped at the end."""
    database = f"test_{uuid.uuid4().hex}"
    with clickhouse_connect.get_client(dsn=url) as client:
        client.command(f"CREATE DATABASE {database}")
        yield ClickHouse(url, database)
        try:
            client.command(f"DROP DATABASE IF EXISTS {database}")
        except DatabaseError:
            # Once the engine was restarted it takes names in the WITH of some views for tables of
            # no database, and drops them one by one only.
            named = "SELECT name FROM system.tables WHERE database = {database:String}"
            for (name,) in client.query(named, parameters={"database": database}).result_rows:
                client.command(f"DROP TABLE {database}.{name}")
            client.command(f"DROP DATABASE {database}")
