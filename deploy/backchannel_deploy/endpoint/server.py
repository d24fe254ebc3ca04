"""ClickHouse's HTTP interface on the loopback: who may ask, how many at once, what is answered.

The loop never waits for the engine or the disk: `/ping` answers during a long INSERT.
"""

import asyncio
import functools
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import structlog
from aiohttp import web

from backchannel_deploy.endpoint.body import Body, BodyLimits, BodyReader
from backchannel_deploy.endpoint.engine import Engine, Query, Summary
from backchannel_deploy.endpoint.errors import ClickHouseError
from backchannel_deploy.endpoint.policy import check_reader, check_statement
from backchannel_deploy.endpoint.reply import Facts, Pieces, failure, reply
from backchannel_deploy.endpoint.request import (
    Credentials,
    Request,
    read_request,
    role_of,
)
from backchannel_deploy.endpoint.statement import leading_verb, output_format

__all__ = ["Limits", "Server"]

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_READ_BYTES = 1 << 20
_GONE_ASK_S = 0.25
_URL_BYTES_MAX = 1 << 20
_HEADER_BYTES_MAX = 1 << 17


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is done at once, and how much waits."""

    running_max: int = 8
    waiting_max: int = 56  # beyond it: TOO_MANY_SIMULTANEOUS_QUERIES (503)
    body: BodyLimits = field(default_factory=BodyLimits)


class Server:
    """Serves one engine; ``close`` lets running statements end.

    ``users`` has the role of each who may ask: empty for everything, else one of `access.READERS`.
    """

    def __init__(
        self,
        engine: Engine,
        spool: Path,
        users: Mapping[Credentials, str],
        limits: Limits | None = None,
    ) -> None:
        self._engine = engine
        self._spool = spool
        self._users = users
        self._limits = limits or Limits()
        self._facts = Facts(engine.version, engine.timezone)
        self._statements = ThreadPoolExecutor(self._limits.running_max, "statement")
        self._disk = ThreadPoolExecutor(2, "disk")
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._runner: web.AppRunner | None = None
        self._on_loopback = True

    async def listen(self, host: str, port: int) -> int:
        """Starts to serve; returns the port, which the system chose where it was 0."""
        self._on_loopback = _is_loopback(host)
        application = web.Application()
        application.router.add_get("/ping", self._ping)
        application.router.add_get("/replicas_status", self._ping)
        application.router.add_route("*", "/", self._query)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            auto_decompress=False,  # bodies unfold piece by piece, in a thread
            max_line_size=_URL_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
            read_bufsize=_READ_BYTES,
            keepalive_timeout=30.0,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, shutdown_timeout=1.0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def close(self, timeout_s: float) -> bool:
        """Takes no more requests and waits for the running ones; False when some did not end."""
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        await self._runner.cleanup()
        self._statements.shutdown()
        self._disk.shutdown()
        return True

    async def _ping(self, http: web.Request) -> web.Response:
        del http
        return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")

    async def _query(self, http: web.Request) -> web.StreamResponse:
        query_id = http.query.get("query_id", "")
        try:
            self._check_origin(http)
            role = role_of(self._users, http.query, http.headers)
            request = read_request(http.method, list(http.query.items()), http.headers)
            query_id = request.query_id
            if http.method == "GET" and not request.query:
                return await self._ping(http)
            return await self._admit(functools.partial(self._run, http, request, role))
        except ClickHouseError as error:
            # The text may quote a client's data: only the code and the name are ours to log.
            log.warning("statement_failed", code=error.code, error=error.name, query_id=query_id)
            return failure(error, query_id, self._facts)
        except (ConnectionError, TimeoutError) as error:
            log.warning("client_gone", reason=type(error).__name__, query_id=query_id)
            if http.transport is not None:
                http.transport.abort()
            return web.Response()  # goes nowhere
        except Exception as error:  # noqa: BLE001  # a bad request never ends the process
            log.error("request_failed", reason=type(error).__name__, query_id=query_id)
            unknown = ClickHouseError.named("UNKNOWN_EXCEPTION", type(error).__name__)
            return failure(unknown, query_id, self._facts)

    async def _admit(self, run: Callable[[], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        allowed = self._limits.running_max + self._limits.waiting_max
        if self._requests >= allowed:
            raise ClickHouseError.named(
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                f"Too many simultaneous queries. Maximum: {allowed}",
            )
        self._requests += 1
        self._idle.clear()
        try:
            return await run()
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    async def _run(self, http: web.Request, request: Request, role: str) -> web.StreamResponse:
        if http.content_type.startswith("multipart/"):
            raise ClickHouseError.named(
                "NOT_IMPLEMENTED",
                "Forms (external data, form-encoded parameters) are not supported by this endpoint",
            )
        reader = BodyReader(
            request.query,
            request.content_encoding,
            self._spool,
            self._limits.body,
            native=request.native_body,
        )
        with reader:
            body = await self._read(http, reader)
            check_statement(body.statement)
            if role:
                check_reader(body.statement)
            query = Query(
                sql=body.sql,
                format=output_format(body.statement) or request.default_format,
                database=request.database,
                settings=request.settings,
                parameters=request.parameters,
                read_only=request.read_only or bool(role),
                role=role,
                reads_file=body.has_file,
                session_id=request.session_id,
                session_s=request.session_s,
                whole=request.wait_end,
                # What changes something is carried out also for a client that is gone.
                mark=uuid4().hex if leading_verb(body.statement) == "SELECT" else "",
            )
            return await self._execute(http, request, query)

    async def _read(self, http: web.Request, reader: BodyReader) -> Body:
        loop = asyncio.get_running_loop()
        held = bytearray()
        async for raw in http.content.iter_any():
            held += raw
            if len(held) >= _READ_BYTES:  # a turn of the disk's thread costs as much as 50 KB
                full, held = bytes(held), bytearray()
                await loop.run_in_executor(self._disk, reader.feed, full)

        def rest() -> Body:
            reader.feed(bytes(held))
            return reader.finish()

        return await loop.run_in_executor(self._disk, rest)

    async def _execute(
        self, http: web.Request, request: Request, query: Query
    ) -> web.StreamResponse:
        pieces = Pieces()

        def run() -> Summary:
            try:
                pieces.check()  # it may have waited for its turn
                return self._engine.run(query, pieces.send)
            finally:
                pieces.end()

        outcome = asyncio.get_running_loop().run_in_executor(self._statements, run)
        watch = asyncio.ensure_future(self._end_when_gone(http, query, pieces))
        try:
            return await reply(http, request, query.format, self._facts, pieces, outcome)
        finally:
            pieces.abandon()
            # The data file stays until the engine has done with it.
            await asyncio.wait([outcome])
            watch.cancel()

    async def _end_when_gone(self, http: web.Request, query: Query, pieces: Pieces) -> None:
        """Ends a question whose client is gone. Cancelled when the statement has ended."""
        while query.mark:
            await asyncio.sleep(_GONE_ASK_S)
            if http.transport is None:
                pieces.abandon()
                # In a thread of its own: those of statements may all be taken. Again and again,
                # since it may just be about to begin.
                await asyncio.to_thread(self._engine.cancel, query.mark)

    def _check_origin(self, http: web.Request) -> None:
        """Refuses web pages: a page in the user's browser can reach the loopback as well."""
        host = http.url.host or ""
        if "Origin" in http.headers or (self._on_loopback and not _is_loopback(host)):
            raise ClickHouseError.named(
                "ACCESS_DENIED", "Requests of web pages and for other host names are refused"
            )


def _is_loopback(host: str) -> bool:
    """An address of this machine: any other name could be rebound to it by whoever owns it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
