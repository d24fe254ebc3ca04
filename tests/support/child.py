"""Processes of tests: the kernel ends them when pytest is gone, however it went."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from backchannel_deploy.up import launch

P = ParamSpec("P")
R = TypeVar("R")

# One thread that lives as long as pytest: the kernel ends a process together with the thread that
# started it, and a test may call from a thread that ends before. No event loop runs in it either.
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="children")


def in_lasting_thread(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls it in the thread that starts processes, and waits for what it returns."""
    return _THREAD.submit(function, *args, **kwargs).result()


def start_child(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Starts a process that gets SIGTERM when pytest is gone. End it by its id all the same.

    ``options`` are those of `subprocess.Popen`.
    """
    program = [sys.executable, "-I", launch.__file__, str(os.getpid()), *command]

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops them
            **options,
        )

    return in_lasting_thread(start)
