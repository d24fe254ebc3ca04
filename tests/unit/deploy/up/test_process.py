"""A supervised process runs until it is told to stop, and then stops."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from backchannel_deploy.up.errors import StartError
from backchannel_deploy.up.process import ProcessSpec, RestartPolicy, SupervisedProcess

AT_ONCE = RestartPolicy(delay_min_s=0.01, delay_max_s=0.05, start_attempts_max=3)
SLEEP = "import time; time.sleep(60)"
DEAF = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
    + SLEEP
)


def spec(
    tmp_path: Path,
    code: str,
    *,
    ready: Callable[[int], Awaitable[None]] | None = None,
    ready_timeout_s: float = 20.0,
    stop_timeout_s: float = 10.0,
) -> ProcessSpec:
    return ProcessSpec(
        name="dummy",
        argv=(sys.executable, "-c", code),
        log_path=tmp_path / "dummy.log",
        ready=ready,
        ready_timeout_s=ready_timeout_s,
        stop_timeout_s=stop_timeout_s,
        restart=AT_ONCE,
    )


@asynccontextmanager
async def started(what: ProcessSpec) -> AsyncIterator[SupervisedProcess]:
    process = SupervisedProcess(what)
    try:
        await process.start()
        yield process
    finally:
        process.kill()
        await process.stop()


async def never(_pid: int) -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- of another process
            await asyncio.sleep(0.01)


def lines(tmp_path: Path) -> list[str]:
    path = tmp_path / "dummy.log"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


async def test_one_that_dies_is_started_again(tmp_path: Path) -> None:
    async with started(spec(tmp_path, SLEEP)) as process:
        first = process.pid
        assert first is not None
        os.kill(first, 9)
        await until(lambda: process.pid not in (None, first))
        assert process.restarts == 1


async def test_one_that_always_dies_is_started_again_and_again(tmp_path: Path) -> None:
    async with started(spec(tmp_path, "print('born', flush=True)")) as process:
        await until(lambda: process.restarts >= 3)
        assert lines(tmp_path).count("born") >= 3


async def test_one_that_dies_before_it_is_ready_fails_the_start(tmp_path: Path) -> None:
    code = "import sys; sys.exit('cannot open the door')"
    with pytest.raises(StartError, match=r"exit code 1(.|\n)*cannot open the door"):
        async with started(spec(tmp_path, code, ready=never)):
            pass


async def test_one_that_hangs_at_its_start_is_ended_and_tried_again(tmp_path: Path) -> None:
    hung = spec(tmp_path, SLEEP, ready=never, ready_timeout_s=0.1)
    with pytest.raises(StartError, match="3 times"):
        async with started(hung):
            pass


async def test_start_waits_until_it_is_ready(tmp_path: Path) -> None:
    async def said_so(_pid: int) -> None:
        await until(lambda: "ready" in lines(tmp_path))

    code = f"import time; time.sleep(0.2); print('ready', flush=True); {SLEEP}"
    async with started(spec(tmp_path, code, ready=said_so)):
        assert lines(tmp_path) == ["ready"]


async def test_stop_ends_one_that_listens(tmp_path: Path) -> None:
    async with started(spec(tmp_path, SLEEP)) as process:
        pid = process.pid
        await process.stop()
        assert pid is not None
        assert not psutil.pid_exists(pid)


async def test_stop_ends_one_that_does_not_listen(tmp_path: Path) -> None:
    async with started(spec(tmp_path, DEAF, stop_timeout_s=0.3)) as process:
        await until(lambda: "deaf" in lines(tmp_path))
        pid = process.pid
        await process.stop()
        assert pid is not None
        assert not psutil.pid_exists(pid)


async def test_stop_ends_one_that_is_frozen(tmp_path: Path) -> None:
    async with started(spec(tmp_path, SLEEP)) as process:
        pid = process.pid
        assert pid is not None
        psutil.Process(pid).suspend()
        await process.stop()
        assert not psutil.pid_exists(pid)


async def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]);"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    async with started(spec(tmp_path, code)) as process:
        await until(lambda: bool(lines(tmp_path)))
        grandchild = int(lines(tmp_path)[0])
        await process.stop()
        await until(lambda: not is_running(grandchild))


async def test_a_stopped_one_is_not_started_again(tmp_path: Path) -> None:
    async with started(spec(tmp_path, SLEEP)) as process:
        await process.stop()
        await asyncio.sleep(0.2)
        assert process.pid is None
        assert process.restarts == 0


def test_pauses_grow_up_to_a_bound() -> None:
    policy = RestartPolicy(delay_min_s=0.5, delay_max_s=30.0)
    pauses = [policy.delay_s(deaths, jitter=1.0) for deaths in (1, 2, 3, 7, 1_000_000)]
    assert pauses == [0.5, 1.0, 2.0, 30.0, 30.0]


def test_jitter_takes_away_up_to_half_a_pause() -> None:
    assert RestartPolicy(delay_min_s=1.0).delay_s(1, jitter=0.0) == 0.5


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
