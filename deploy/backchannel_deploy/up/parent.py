"""A process of the stack ends when the supervisor that started it is gone."""

import os
import signal
import threading
import time

from backchannel_deploy.up.launch import end_with_parent

PARENT_PID = "BACKCHANNEL_PARENT_PID"  # set by the supervisor for each process it starts
POLL_S = 1.0
GRACE_S = 10.0


def exit_when_parent_dies(poll_s: float = POLL_S, grace_s: float = GRACE_S) -> None:
    """Start to watch the supervisor named by ``BACKCHANNEL_PARENT_PID``; without it, do nothing.

    When it is gone, this process gets SIGTERM, as if it had been stopped, and is ended without
    further ado ``grace_s`` seconds later. Call it once, early, in the main thread.
    """
    parent_pid = os.environ.get(PARENT_PID)
    if parent_pid is None:
        return
    end_with_parent(int(parent_pid))  # the kernel is quicker, where it knows how
    threading.Thread(
        target=_watch,
        args=(int(parent_pid), poll_s, grace_s),
        name="watch-parent",
        daemon=True,
    ).start()


def _watch(parent_pid: int, poll_s: float, grace_s: float) -> None:
    # An orphan gets another parent at once, so the id of ours cannot be reused unnoticed.
    while os.getppid() == parent_pid:
        time.sleep(poll_s)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s)
    os._exit(1)
