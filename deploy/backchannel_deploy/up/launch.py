"""Becomes another program, which the kernel ends when the process that started it dies.

``python launch.py PARENT_PID PROGRAM ARGUMENT...``: for programs that cannot watch their parent
themselves, such as the broker. The signal is SIGTERM, so a broker still closes its log properly.
Linux only; elsewhere the program just runs, and the next ``up`` on the data directory ends it.
It stands alone, imports next to nothing, and costs about 20 ms.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(parent_pid: int, on_death: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel to send this process ``on_death`` when its parent dies.

    Exits at once if the parent is already gone. Does nothing on other systems than Linux.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(on_death), 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the kernel knew what we want
        sys.exit(f"the process {parent_pid} that should watch over this one is gone")


def main(argv: list[str]) -> None:
    """Replace this process by the program that ``argv`` names after the parent's id."""
    parent_pid, program, *arguments = argv
    end_with_parent(int(parent_pid))
    os.execvp(program, [program, *arguments])  # noqa: S606 -- becoming the program is the point


if __name__ == "__main__":
    main(sys.argv[1:])
