"""A TCP proxy between a client and a broker, which behaves as badly as it is told to.

The broker must advertise the proxy's address, else clients go past it: see `PROXIED` in
`support.broker`.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Literal, Self

__all__ = ["Proxy", "Trouble"]

Trouble = Literal["none", "slow", "black_hole", "no_answers", "refuse", "drip"]
"""``slow``: every answer comes 200 ms late. ``black_hole``: connections are made and nothing gets
through. ``no_answers``: what the client says arrives, what the broker answers does not (half
open). ``refuse``: nobody listens, and what was connected is cut off. ``drip``: answers come 8 bytes
at a time."""

_CHUNK = 64 * 1024
_SLOW_S = 0.2
_DRIP_BYTES = 8
_DRIP_S = 0.002


class Proxy:
    """Listens on a port of its own, in a thread of its own. ``trouble`` may be set from any thread
    and holds for connections that are there already, too."""

    def __init__(self) -> None:
        self.target_port = 0
        """Where it connects to; to be set before the first client comes."""
        self.port = 0
        self.connections = 0
        """How many clients came so far."""
        self._trouble: Trouble = "none"
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def trouble(self) -> Trouble:
        """How it behaves."""
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: Trouble) -> None:
        before, self._trouble = self._trouble, trouble
        if trouble == "refuse":
            self._call(self._cut())
        elif before == "refuse":
            self._call(self._listen())

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _stop(self) -> None:
        await self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            with contextlib.suppress(OSError):
                answers, upstream = await asyncio.open_connection("127.0.0.1", self.target_port)
                self._writers.add(upstream)
                there = asyncio.ensure_future(self._pump(reader, upstream, answers=False))
                back = asyncio.ensure_future(self._pump(answers, writer, answers=True))
                try:
                    await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for each in (there, back):
                        each.cancel()
                    await asyncio.gather(there, back, return_exceptions=True)
        finally:
            self._tasks.discard(task)
            for end in (writer, upstream):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(_CHUNK):
                if self._trouble == "black_hole" or (answers and self._trouble == "no_answers"):
                    continue  # a protocol with a hole in it is of no use later: see `test_chaos`
                if answers and self._trouble == "slow":
                    await asyncio.sleep(_SLOW_S)
                if answers and self._trouble == "drip":
                    for start in range(0, len(chunk), _DRIP_BYTES):
                        sink.write(chunk[start : start + _DRIP_BYTES])
                        await sink.drain()
                        await asyncio.sleep(_DRIP_S)
                    continue
                sink.write(chunk)
                await sink.drain()
