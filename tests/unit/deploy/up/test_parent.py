"""A process of the stack does not outlive the supervisor that started it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from backchannel_deploy.up import launch

# A supervisor that starts one child, says its id, and would run for long.
SUPERVISOR = """
import os, subprocess, sys, time
environment = {**os.environ, "BACKCHANNEL_PARENT_PID": str(os.getpid())}
command = [part.replace("PARENT", str(os.getpid())) for part in sys.argv[1:]]
child = subprocess.Popen(command, env=environment, start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
WATCHING = """
import sys, time
from backchannel_deploy.up.parent import exit_when_parent_dies
exit_when_parent_dies(poll_s=0.05, grace_s=0.2)
open(sys.argv[1], "w").close()
time.sleep(600)
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WATCHING

Start = Callable[[list[str]], tuple[subprocess.Popen[str], psutil.Process]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a supervisor with the given child; both are ended after the test."""
    started: list[psutil.Process] = []

    def start(command: list[str]) -> tuple[subprocess.Popen[str], psutil.Process]:
        supervisor = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, *command], stdout=subprocess.PIPE, text=True
        )
        started.append(psutil.Process(supervisor.pid))
        assert supervisor.stdout is not None
        with supervisor.stdout:
            child = psutil.Process(int(supervisor.stdout.readline()))
        started.append(child)
        return supervisor, child

    yield start
    for process in started:
        if not is_gone(process):
            process.kill()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("code", [WATCHING, DEAF], ids=["listens", "is deaf"])
def test_a_watching_process_ends_with_its_supervisor(
    start: Start, code: str, tmp_path: Path
) -> None:
    supervisor, child = start([sys.executable, "-c", code, str(tmp_path / "watching")])
    until((tmp_path / "watching").exists)
    supervisor.kill()
    supervisor.wait()
    until(lambda: is_gone(child))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_a_launched_program_ends_with_its_supervisor(start: Start) -> None:
    supervisor, child = start([sys.executable, "-I", launch.__file__, "PARENT", "sleep", "600"])
    until(lambda: child.name() == "sleep")
    supervisor.kill()
    supervisor.wait()
    until(lambda: is_gone(child))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_a_program_is_not_launched_for_a_supervisor_that_is_gone(tmp_path: Path) -> None:
    made = tmp_path / "made"
    command = [sys.executable, "-I", launch.__file__, str(os.getpid() + 1), "touch", str(made)]
    assert subprocess.run(command, check=False).returncode == 1
    assert not made.exists()


def test_without_a_supervisor_nothing_is_watched() -> None:
    code = (
        "import threading; from backchannel_deploy.up.parent import exit_when_parent_dies;"
        "exit_when_parent_dies(); assert threading.active_count() == 1"
    )
    environment = {k: v for k, v in os.environ.items() if k != "BACKCHANNEL_PARENT_PID"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
