"""SIGTERM for scripts: the system's default ends a process without a word to anybody."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

__all__ = ["chain_sigterm"]


def chain_sigterm(before_default: Callable[[], object], before_host: Callable[[], object]) -> bool:
    """Runs something at SIGTERM before what would happen anyway. Returns whether it is installed.

    Where the default holds, ``before_default`` runs and the process ends by SIGTERM. Where the host
    has a function of its own, ``before_host`` runs and then that function, which decides how long
    the process lives on. It is not installed where SIGTERM is ignored or belongs to C code, and
    outside the main thread, where Python allows no such thing.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    before = signal.getsignal(signal.SIGTERM)
    if before in (signal.SIG_IGN, None):
        return False

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        if callable(before):
            before_host()
            before(number, frame)
        else:
            before_default()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGTERM, on_sigterm)
    return True
