"""The whole pipeline as a user runs it: `backchannel up` as a process, found by its state file."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
import pytest
from clickhouse_connect.driver.client import Client

from support.broker import cache_with_jars
from support.child import start_child

START_TIMEOUT_S = 180
STOP_TIMEOUT_S = 60


class Stack:
    """One `backchannel up` on its own data directory. Always stopped by its id, children too."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.data_dir = data_dir
        self.env = {
            key: value for key, value in os.environ.items() if not key.startswith("BACKCHANNEL_")
        } | {
            "BACKCHANNEL_DATA_DIR": str(data_dir),
            "BACKCHANNEL_CACHE_DIR": str(cache_with_jars(data_dir.parent / "cache")),
            "BACKCHANNEL_KAFKA_PORT": "0",
            "BACKCHANNEL_KAFKA_CONTROLLER_PORT": "0",
            "BACKCHANNEL_CLICKHOUSE_PORT": "0",
            "BACKCHANNEL_WORKER_PORT": "0",
            "BACKCHANNEL_SINK_PORT": "0",
            "BACKCHANNEL_NOTIFIER_PORT": "0",
            **env,
        }
        self._up: subprocess.Popen[bytes] | None = None
        self._output = data_dir.parent / f"{data_dir.name}-up.log"

    def start(self) -> "Stack":
        """Starts it and waits until everything is ready."""
        with self._output.open("ab") as output:
            self._up = start_child(
                [sys.executable, "-m", "backchannel_deploy", "up"],
                env=self.env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (self.data_dir / "state.json").exists():
            if self._up.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"up did not start:\n{self._output.read_text()[-4000:]}")
            time.sleep(0.1)
        return self

    def stop(self) -> int:
        """Stops it as Ctrl-C would and returns the exit code."""
        assert self._up is not None
        self._up.send_signal(signal.SIGTERM)
        return self._up.wait(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """Ends whatever still runs of it."""
        if self._up is None:
            return
        left = [process for process in self.processes() if process.is_running()]
        if self._up.poll() is None:
            self._up.kill()
            self._up.wait()
        for process in left:
            try:
                process.kill()
                process.wait(10)
            except psutil.NoSuchProcess:
                continue

    def processes(self) -> list[psutil.Process]:
        """The supervisor's children that run now, and theirs."""
        try:
            assert self._up is not None
            return psutil.Process(self._up.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    @property
    def state(self) -> dict[str, Any]:
        """What the state file says."""
        state: dict[str, Any] = json.loads((self.data_dir / "state.json").read_text())
        return state

    @property
    def kafka(self) -> str:
        return str(self.state["kafka"])

    def pid(self, name: str) -> int:
        """The process id of a role as it runs now."""
        return next(int(p["pid"]) for p in self.state["processes"] if p["name"] == name)

    def kill_role(self, name: str) -> None:
        """SIGKILL to one role; the supervisor starts it again."""
        os.kill(self.pid(name), signal.SIGKILL)

    def client(self) -> Client:
        """A plain clickhouse-connect client."""
        return clickhouse_connect.get_client(
            dsn=str(self.state["clickhouse"]), database="backchannel", autogenerate_session_id=False
        )

    def sql(self, statement: str) -> Sequence[Any]:
        """The first row of the answer."""
        client = self.client()
        try:
            rows = client.query(statement).result_rows
            return rows[0] if rows else ()
        finally:
            client.close()

    def cli(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs a `backchannel` command as a user would in another terminal."""
        return subprocess.run(
            [sys.executable, "-m", "backchannel_deploy", *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def eventually(
    ask: Callable[[], Any], expected: Any, *, timeout_s: float = 60, every_s: float = 0.25
) -> None:
    """Asks until the answer is the expected one; fails with the last answer."""
    deadline = time.monotonic() + timeout_s
    while (answer := ask()) != expected:
        assert time.monotonic() < deadline, f"expected {expected!r}, still {answer!r}"
        time.sleep(every_s)


async def eventually_async(
    ask: Callable[[], Awaitable[Any]], expected: Any, *, timeout_s: float = 60
) -> None:
    """The same for a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while (answer := await ask()) != expected:
        assert time.monotonic() < deadline, f"expected {expected!r}, still {answer!r}"
        await asyncio.sleep(0.25)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A whole pipeline for the tests of one file."""
    running = Stack(tmp_path_factory.mktemp("stack") / "data")
    try:
        yield running.start()
        assert running.stop() == 0
    finally:
        running.kill()
