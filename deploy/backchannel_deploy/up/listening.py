"""Whether it is our process that listens on a port, and not one that was there before it."""

import asyncio

import psutil

POLL_S = 0.05


async def wait_until_listening(pid: int, port: int) -> None:
    """Return once the process ``pid`` listens on ``port``; wait for ever if it never does.

    Asking the port alone is not enough: when another stack took it a moment ago, its answer would
    be taken for ours, and our events would go there.
    """
    while not _listens(pid, port):  # noqa: ASYNC110 -- it is another process
        await asyncio.sleep(POLL_S)


def _listens(pid: int, port: int) -> bool:
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # some systems do not tell: then the port's answer must do
        return True
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port
        for connection in connections
    )
