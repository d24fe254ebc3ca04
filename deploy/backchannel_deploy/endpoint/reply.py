"""A statement's answer as HTTP: headers as the server's, the body while it is being made."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from threading import Event

from aiohttp import web

from backchannel_deploy.endpoint.compression import NATIVE, accepted_coding, compressor
from backchannel_deploy.endpoint.engine import Summary
from backchannel_deploy.endpoint.errors import ClickHouseError, error_body, http_status
from backchannel_deploy.endpoint.request import Request

__all__ = ["Facts", "Pieces", "failure", "reply"]

# A result up to this size is sent in one go, with its exact summary and length.
_HELD_BYTES = 1 << 20
_CONTENT_TYPES = {
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "Arrow": "application/octet-stream",
    "ArrowStream": "application/octet-stream",
}
_DISPLAY_NAME = socket.gethostname()
_STALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What every answer says of the engine."""

    version: str
    timezone: str


class Pieces:
    """Hands a result from the thread that makes it to the loop that sends it, a few pieces at once.

    The thread waits while the client is slower; after ``abandon`` it is told to stop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=4)
        self._abandoned = Event()

    def send(self, data: bytes) -> None:
        """In the thread: the next piece.

        Raises:
            ClickHouseError: nobody wants it any more.
        """
        self.check()
        self._put(data)

    def check(self) -> None:
        """In the thread: goes on if somebody waits.

        Raises:
            ClickHouseError: nobody wants the result any more.
        """
        if self._abandoned.is_set():
            raise ClickHouseError.named("QUERY_WAS_CANCELLED", "The client is gone")

    def end(self) -> None:
        """In the thread: there is no more, for better or worse."""
        self._put(None)

    def abandon(self) -> None:
        """In the loop: ends the thread's waiting."""
        self._abandoned.set()
        while not self._queue.empty():
            self._queue.get_nowait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            yield piece

    def _put(self, piece: bytes | None) -> None:
        asyncio.run_coroutine_threadsafe(self._queue.put(piece), self._loop).result()


async def reply(
    http: web.Request,
    request: Request,
    output_format: str,
    facts: Facts,
    pieces: Pieces,
    outcome: Awaitable[Summary],
) -> web.StreamResponse:
    """Sends the pieces, then what `outcome` says.

    Raises:
        ClickHouseError: the statement failed, and nothing has been sent yet.
    """
    held: list[bytes] = []
    held_bytes = 0
    arriving = aiter(pieces)
    async for piece in arriving:
        held.append(piece)
        held_bytes += len(piece)
        if held_bytes > _HELD_BYTES:
            return await _stream(http, request, output_format, facts, arriving, outcome, held)
    summary = await outcome
    body = b"".join(held)
    headers = _headers(request, facts, output_format, summary)
    coding = _coding(request)
    if body and coding:
        fold = compressor(coding)
        body = fold.feed(body) + fold.finish()
        headers |= _named(coding)
    return web.Response(body=body, headers=headers)


async def _stream(
    http: web.Request,
    request: Request,
    output_format: str,
    facts: Facts,
    arriving: AsyncIterator[bytes],
    outcome: Awaitable[Summary],
    held: list[bytes],
) -> web.StreamResponse:
    headers = _headers(request, facts, output_format, Summary(returns_rows=True))
    headers["X-ClickHouse-Exception-Tag"] = tag = secrets.token_hex(8)
    coding = _coding(request)
    fold = compressor(coding) if coding else None
    headers |= _named(coding)
    response = web.StreamResponse(headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(http)

    async def send(data: bytes) -> None:
        folded = await asyncio.to_thread(fold.feed, data) if fold else data
        if folded:
            # A client that stops reading may not keep a thread of the engine for ever.
            await asyncio.wait_for(response.write(folded), _STALL_S)

    for piece in held:
        await send(piece)
    held.clear()
    async for piece in arriving:
        await send(piece)
    try:
        await outcome
    except ClickHouseError as error:
        await send(_exception_block(error, tag, facts))
        if fold:
            await response.write(fold.finish())
        assert http.transport is not None
        http.transport.close()  # without the last chunk: nobody shall take this for a whole result
        return response
    if fold:
        await response.write(fold.finish())
    await response.write_eof()
    return response


def _coding(request: Request) -> str | None:
    return NATIVE if request.native_answer else accepted_coding(request.accept_encoding)


def _named(coding: str | None) -> dict[str, str]:
    return {"Content-Encoding": coding} if coding and coding != NATIVE else {}


def failure(error: ClickHouseError, query_id: str, facts: Facts) -> web.Response:
    """The answer to a request that failed before anything was sent."""
    headers = {
        "X-ClickHouse-Exception-Code": str(error.code),
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Server-Display-Name": _DISPLAY_NAME,
        "X-ClickHouse-Timezone": facts.timezone,
        "Content-Type": "text/plain; charset=UTF-8",
    }
    body = error_body(error, facts.version)
    return web.Response(status=http_status(error.code), body=body, headers=headers)


def _exception_block(error: ClickHouseError, tag: str, facts: Facts) -> bytes:
    message = error_body(error, facts.version)
    edge = b"__exception__\r\n" + tag.encode() + b"\r\n"
    close = f"{len(message)} {tag}\r\n__exception__\r\n".encode()
    return b"\r\n" + edge + message + close


def _headers(
    request: Request, facts: Facts, output_format: str, summary: Summary
) -> dict[str, str]:
    headers = {
        "X-ClickHouse-Query-Id": request.query_id,
        "X-ClickHouse-Server-Display-Name": _DISPLAY_NAME,
        "X-ClickHouse-Timezone": facts.timezone,
        "X-ClickHouse-Summary": _summary(summary),
        "Content-Type": _CONTENT_TYPES.get(output_format, "text/plain; charset=UTF-8"),
    }
    if summary.returns_rows:
        headers["X-ClickHouse-Format"] = output_format
    return headers


def _summary(summary: Summary) -> str:
    return json.dumps(
        {
            "read_rows": str(summary.read_rows),
            "read_bytes": str(summary.read_bytes),
            "written_rows": str(summary.written_rows),
            "written_bytes": str(summary.written_bytes),
            "total_rows_to_read": str(summary.read_rows),
            "result_rows": str(summary.result_rows),
            "result_bytes": str(summary.result_bytes),
            "elapsed_ns": str(summary.elapsed_ns),
        },
        separators=(",", ":"),
    )
