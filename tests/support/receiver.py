"""Somebody who is told: an HTTP server on this machine that records what it gets.

What it does is the first part of the path: ``/ok``; ``/500`` and the like; ``/flaky/n`` (500 for
the first n requests); ``/hang`` (no answer); ``/drip`` (the head of an answer, a byte at a time,
for ever); ``/redirect`` (to ``/ok``); ``/close`` (the connection is closed); ``/large`` (an endless
answer).
"""

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from support.local_server import LocalServer

__all__ = ["Received", "Receiver", "receiver"]

_DRIP_S = 0.05


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        """The id that Standard Webhooks asks for."""
        return self.headers["webhook-id"]


class Receiver(LocalServer):
    """Answers in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Received] = []

    def url(self, path: str) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def at(self, path: str) -> list[Received]:
        """What came on one path."""
        return [each for each in self.got if each.path == f"/{path}"]

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/{tail:.*}", self._take)]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        self.got.append(Received(request.path, dict(request.headers), await request.read()))
        what, *rest = request.path.removeprefix("/").split("/")
        if what == "flaky":
            before = len(self.at(request.path.removeprefix("/")))
            return web.Response(status=500 if before <= int(rest[0]) else 204)
        if what == "redirect":
            return web.Response(status=307, headers={"location": self.url("ok")})
        if what == "close":
            assert request.transport is not None
            request.transport.close()
        if what == "hang":
            await asyncio.sleep(3_600)
        if what in ("drip", "large"):
            await self._stream(request, what)
        status = int(what) if what.isdigit() else 200
        return web.Response(status=status, headers={"retry-after": "7"} if status == 429 else {})

    async def _stream(self, request: web.Request, what: str) -> None:
        """Writes the beginning of an answer that never ends."""
        connection = request.transport
        assert connection is not None
        length = b"Content-Length: 1000000000000\r\n\r\n"
        connection.write(b"HTTP/1.1 200 OK\r\n" + (length if what == "large" else b"X-Drip: "))
        while not connection.is_closing():
            connection.write(b"." * 65_536 if what == "large" else b"H")
            await asyncio.sleep(_DRIP_S if what == "drip" else 0.001)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of the test's own."""
    with Receiver() as started:
        yield started
