"""As much of Redis as a queue's length takes, in this process; or the real one where it is there.

It has lists, sets, hashes and transactions, so that the real clients (redis-py, kombu, RQ) put jobs
in and count them.
"""

import contextlib
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar


class _Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        queued: list[list[bytes]] | None = None
        with contextlib.suppress(ConnectionError, ValueError):
            while command := self._command():
                name = command[0].upper()
                if name == b"MULTI":
                    queued = []
                    self.wfile.write(b"+OK\r\n")
                elif name == b"EXEC" and queued is not None:
                    self.wfile.write(b"*%d\r\n" % len(queued))
                    for one in queued:
                        self.wfile.write(_reply(self._run(one)))
                    queued = None
                elif queued is not None:
                    queued.append(command)
                    self.wfile.write(b"+QUEUED\r\n")
                else:
                    self.wfile.write(_reply(self._run(command)))

    def _command(self) -> list[bytes]:
        head = self.rfile.readline()
        if not head.startswith(b"*"):
            return []
        parts = []
        for _ in range(int(head[1:])):
            length = int(self.rfile.readline()[1:])
            parts.append(self.rfile.read(length + 2)[:-2])
        return parts

    def _run(self, command: list[bytes]) -> Any:
        server = self.server
        assert isinstance(server, _Server)
        name, *arguments = command
        with server.lock:
            run = server.commands.get(name.upper())
            return run(server, *arguments) if run else ValueError("unknown command")


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.lock = threading.Lock()
        self.lists: dict[bytes, list[bytes]] = {}
        self.others: dict[bytes, dict[bytes, bytes]] = {}

    def push(self, key: bytes, *values: bytes) -> int:
        self.lists.setdefault(key, [])[:0] = reversed(values)
        return len(self.lists[key])

    def append(self, key: bytes, *values: bytes) -> int:
        self.lists.setdefault(key, []).extend(values)
        return len(self.lists[key])

    def length(self, key: bytes) -> int:
        return len(self.lists.get(key, ()))

    def put(self, key: bytes, *values: bytes) -> int:
        for value in values:
            self.others.setdefault(key, {})[value] = b""
        return len(values)

    def members(self, key: bytes) -> list[bytes]:
        return list(self.others.get(key, {}))

    def exists(self, *keys: bytes) -> int:
        return sum(key in self.lists or key in self.others for key in keys)

    def hello(self, *_: bytes) -> dict[bytes, Any]:
        return {b"server": b"redis", b"version": b"7.0.0", b"proto": 3}

    def ok(self, *_: bytes) -> str:
        return "OK"

    def ping(self, *said: bytes) -> str | bytes:
        return said[0] if said else "PONG"

    def info(self, *_: bytes) -> bytes:
        return b"redis_version:7.0.0\r\n"

    commands: ClassVar[dict[bytes, Callable[..., Any]]] = {
        b"LPUSH": push,
        b"RPUSH": append,
        b"LLEN": length,
        b"SADD": put,
        b"HSET": put,
        b"HMSET": put,
        b"SMEMBERS": members,
        b"EXISTS": exists,
        b"HELLO": hello,
        b"INFO": info,
        b"PING": ping,
        b"CLIENT": ok,
        b"SELECT": ok,
        b"EXPIRE": ok,
        b"PERSIST": ok,
        b"WATCH": ok,
        b"UNWATCH": ok,
    }


def _reply(value: Any) -> bytes:
    match value:
        case str():
            return b"+%b\r\n" % value.encode()
        case int():
            return b":%d\r\n" % value
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(value), value)
        case dict():
            pairs = b"".join(_reply(key) + _reply(each) for key, each in value.items())
            return b"%%%d\r\n%b" % (len(value), pairs)
        case list():
            return b"*%d\r\n%b" % (len(value), b"".join(_reply(one) for one in value))
        case _:
            return b"-ERR %b\r\n" % str(value).encode()


@contextlib.contextmanager
def redis_port(home: Path) -> Iterator[int]:
    """Serves Redis on a port of this machine: the real one where ``redis-server`` is on PATH."""
    binary = shutil.which("redis-server")
    if binary is None:
        with _Server() as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield int(server.server_address[1])
            server.shutdown()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server_process = subprocess.Popen(
        [binary, "--port", str(port), "--save", "", "--dir", str(home)], stdout=subprocess.DEVNULL
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.02)
        yield port
    finally:
        server_process.terminate()
        server_process.wait()
