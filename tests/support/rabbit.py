"""A real RabbitMQ on this machine, where it is installed."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support.broker import free_ports

__all__ = ["RABBITMQ", "rabbitmq_address"]

RABBITMQ = shutil.which("rabbitmq-server", path=f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}")
"""Its program, not Debian's wrapper that changes the user; ``None`` where there is none."""

_READY_S = 60.0


@contextlib.contextmanager
def rabbitmq_address(folder: Path) -> Iterator[str]:
    """Runs one with all its files in the folder; yields its address for Celery."""
    assert RABBITMQ is not None
    port, distribution, names = free_ports(3)
    environment = {
        **os.environ,
        "HOME": str(folder),  # Erlang's cookie stands there
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
    }
    server = subprocess.Popen(
        [RABBITMQ], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, server)
        yield f"amqp://guest:guest@127.0.0.1:{port}//"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
        # Erlang's name service outlives the node that started it.
        subprocess.run(["epmd", "-port", str(names), "-kill"], check=False, capture_output=True)


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as each:
            each.sendall(b"AMQP\x00\x00\x09\x01")
            each.settimeout(5)
            if each.recv(1):
                return
        time.sleep(0.2)
    raise AssertionError("RabbitMQ did not start")
