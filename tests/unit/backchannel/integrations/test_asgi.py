"""The middleware in real applications: what a request becomes, and that it changes nothing else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from backchannel import current_turn
from backchannel.events import ErrorEvent, Interaction, Security
from backchannel.integrations.asgi import BackchannelMiddleware
from backchannel.producer import Producer
from backchannel.testing import ManualClock, RecordedEvents


class TeapotError(Exception):
    pass


async def hello(request: Request) -> Response:
    return PlainTextResponse("hello")


async def broken(request: Request) -> Response:
    raise TeapotError("short and stout")


async def slow_words() -> AsyncIterator[str]:
    for word in ("one ", "two ", "three"):
        yield word
        await asyncio.sleep(0.01)


async def words(request: Request) -> Response:
    return StreamingResponse(slow_words())


ROUTES = [
    Route("/hello/{name}", hello, methods=["GET", "POST"]),
    Route("/broken", broken),
    Route("/words", words),
    Route("/health", hello),
    Mount("/inner", routes=[Route("/hello/{name}", hello)]),
]


def starlette(producer: Producer, **options: Any) -> TestClient:
    app = Starlette(routes=ROUTES)
    app.add_middleware(BackchannelMiddleware, producer=producer, **options)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def client(backchannel_producer: Producer) -> TestClient:
    return starlette(backchannel_producer)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/hello/ana", "/hello/{name}"),
        ("/inner/hello/ana", "/inner/hello/{name}"),
        ("/wp-login.php", "(unmatched)"),
    ],
)
def test_the_endpoint_is_the_routes_template_and_never_the_path(
    client: TestClient, backchannel_events: RecordedEvents, path: str, template: str
) -> None:
    client.get(path)

    assert backchannel_events.one(Interaction).endpoint == template


def test_in_fastapi_too_wherever_the_router_was_put(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    app, router, sub = FastAPI(), APIRouter(prefix="/v1"), FastAPI()
    for each in (router, sub):
        each.get("/chat/{chat_id}")(lambda chat_id: chat_id)
    app.include_router(router, prefix="/api/{tenant}")
    app.mount("/sub", sub)
    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)
    client = TestClient(app)

    for path in ("/api/acme/v1/chat/7", "/sub/chat/7"):
        assert client.get(path).status_code == 200

    found = [turn.endpoint for turn in backchannel_events.of(Interaction)]
    assert found == ["/api/{tenant}/v1/chat/{chat_id}", "/sub/chat/{chat_id}"]


def test_a_turn_says_method_status_and_load(
    client: TestClient, backchannel_events: RecordedEvents
) -> None:
    client.post("/hello/ana", headers={"x-request-id": "r-1"})

    turn = backchannel_events.one(Interaction)
    assert (turn.http_method, turn.http_status, turn.status) == ("POST", 200, "ok")
    assert (turn.request_id, turn.in_flight) == ("r-1", 1)
    backchannel_events.assert_no_loss()


def test_the_callers_trace_goes_on(client: TestClient, backchannel_events: RecordedEvents) -> None:
    client.get("/hello/ana", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    client.get("/hello/ana", headers={"traceparent": "nonsense"})

    with_trace, without = backchannel_events.of(Interaction)
    assert (with_trace.trace_id, with_trace.parent_span_id) == ("a" * 32, "b" * 16)
    assert (without.trace_id, without.parent_span_id) == ("", "")


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        (204, "ok"),
        (404, "ok"),
        (422, "ok"),
        (401, "blocked"),
        (403, "blocked"),
        (429, "rate_limited"),
        (500, "error"),
        (504, "timeout"),
    ],
)
def test_a_status_says_how_the_turn_ended(
    backchannel_producer: Producer, backchannel_events: RecordedEvents, status: int, ended: str
) -> None:
    app = FastAPI()

    @app.get("/answer")
    def answer() -> Response:
        return Response(status_code=status)

    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)
    TestClient(app).get("/answer")

    turn = backchannel_events.one(Interaction)
    assert (turn.http_status, turn.status) == (status, ended)
    assert turn.error_type == ("" if ended == "ok" else f"HTTP {status}")


@pytest.mark.parametrize(("status", "kind"), [(401, "authentication"), (403, "authorization")])
def test_a_refused_request_is_something_a_security_rule_sees(
    backchannel_producer: Producer, backchannel_events: RecordedEvents, status: int, kind: str
) -> None:
    app = FastAPI()

    @app.get("/secret/{name}")
    def secret(name: str) -> None:
        raise HTTPException(status)

    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)
    TestClient(app).get("/secret/plans", headers={"x-request-id": "r-9"})

    event = backchannel_events.one(Security)
    assert (event.kind, event.outcome, event.request_id) == (kind, "blocked", "r-9")
    assert event.detail == "GET /secret/{name}"


def test_an_exception_goes_on_its_way_and_is_told_with_its_stack(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    app = Starlette(routes=ROUTES)
    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)

    with pytest.raises(TeapotError):
        TestClient(app).get("/broken")

    turn, error = backchannel_events.one(Interaction), backchannel_events.one(ErrorEvent)
    assert (turn.status, turn.http_status, turn.error_type) == ("error", 500, "TeapotError")
    assert (error.exception_type, error.handled, error.endpoint) == (
        "TeapotError",
        False,
        "/broken",
    )
    assert "in broken" in error.stacktrace
    assert error.trace_id == turn.trace_id != ""


def test_exceptions_may_be_left_to_somebody_else(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    client = starlette(backchannel_producer, capture_errors=False)
    client.get("/broken")

    assert backchannel_events.one(Interaction).error_type == "TeapotError"
    assert len(backchannel_events.of(ErrorEvent)) == 0


def test_what_a_handler_says_of_the_turn_wins(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    app = FastAPI()

    @app.get("/chat")
    def chat() -> Response:
        turn = current_turn()
        assert turn is not None
        turn.set(conversation_id="c-1", status="rate_limited", endpoint="chat")
        with backchannel_producer.llm_call("gpt-4o", "openai") as call:
            call.usage(input_tokens=7, output_tokens=3)
        return Response(status_code=503)

    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)
    TestClient(app).get("/chat")

    turn = backchannel_events.one(Interaction)
    assert (turn.status, turn.endpoint, turn.http_status) == ("rate_limited", "chat", 503)
    assert (turn.conversation_id, turn.input_tokens, turn.model) == ("c-1", 7, "gpt-4o")


def test_health_checks_and_metrics_are_no_turns(
    client: TestClient, backchannel_events: RecordedEvents
) -> None:
    assert client.get("/health").text == "hello"
    assert len(backchannel_events) == 0


def test_only_what_is_asked_for_is_a_turn(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    client = starlette(backchannel_producer, only=["/hello/*"], exclude=["/hello/nobody"])
    for path in ("/words", "/hello/nobody", "/hello/ana"):
        client.get(path)

    assert backchannel_events.one(Interaction).endpoint == "/hello/{name}"


def test_fields_of_a_request_are_put_on_its_turn(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    client = starlette(
        backchannel_producer, fields=lambda scope: {"user_id": Request(scope).headers["x-user"]}
    )
    client.get("/hello/ana", headers={"x-user": "u-1"})
    assert client.get("/hello/ana").text == "hello"  # without that header the function fails

    assert [turn.user_id for turn in backchannel_events.of(Interaction)] == ["u-1", ""]
    assert backchannel_producer.stats().fields_repaired == 1


def test_a_background_task_is_no_part_of_the_turn(
    backchannel_producer: Producer,
    backchannel_events: RecordedEvents,
    backchannel_clock: ManualClock,
) -> None:
    app = FastAPI()

    @app.get("/later")
    def later(tasks: BackgroundTasks) -> str:
        backchannel_clock.advance(seconds=1)
        tasks.add_task(backchannel_clock.advance, seconds=60)
        return "soon"

    app.add_middleware(BackchannelMiddleware, producer=backchannel_producer)
    TestClient(app).get("/later")

    turn = backchannel_events.one(Interaction)
    assert (turn.duration_us, turn.ttfb_us) == (1_000_000, 1_000_000)


# Below the level of a client: what the middleware sees and what it lets through.

Sent = list[dict[str, Any]]
SCOPE = {"type": "http", "method": "GET", "path": "/words", "headers": [], "query_string": b""}


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def call(
    app: Callable[..., Awaitable[None]],
    receive: Callable[[], Awaitable[Any]] = never,
    **scope: Any,
) -> Sent:
    sent: Sent = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app({**SCOPE, **scope}, receive, send)
    return sent


def streaming(producer: Producer) -> BackchannelMiddleware:
    return BackchannelMiddleware(Starlette(routes=ROUTES), producer)


async def test_a_stream_goes_through_piece_by_piece(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    sent = await call(streaming(backchannel_producer))

    assert [each["body"] for each in sent[1:]] == [b"one ", b"two ", b"three", b""]
    turn = backchannel_events.one(Interaction)
    assert turn.ttfb_us is not None
    assert turn.duration_us >= turn.ttfb_us + 20_000


async def test_a_client_that_goes_away_in_a_stream_cancels_the_turn(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    async def gone() -> dict[str, Any]:
        await asyncio.sleep(0.015)
        return {"type": "http.disconnect"}

    sent = await call(streaming(backchannel_producer), gone)

    assert len(sent) < 5
    turn = backchannel_events.one(Interaction)
    assert (turn.status, turn.endpoint, turn.http_status) == ("cancelled", "/words", 200)


async def test_so_does_a_server_that_tells_it_by_an_error(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            raise OSError("nobody there")

    app = streaming(backchannel_producer)
    with pytest.raises(ClientDisconnect):
        await app({**SCOPE, "asgi": {"spec_version": "2.4"}}, never, send)

    assert backchannel_events.one(Interaction).status == "cancelled"
    assert len(backchannel_events.of(ErrorEvent)) == 0


async def test_so_does_a_cancelled_request(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    async def waits(scope: Any, receive: Any, send: Any) -> None:
        await never()

    task = asyncio.ensure_future(call(BackchannelMiddleware(waits, backchannel_producer)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert backchannel_events.one(Interaction).status == "cancelled"


async def test_requests_under_way_are_counted(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    app = streaming(backchannel_producer)
    await asyncio.gather(*(call(app) for _ in range(3)))
    await call(app)

    turns = sorted(backchannel_events.of(Interaction), key=lambda turn: turn.ts_us)
    assert [turn.in_flight for turn in turns] == [1, 2, 3, 1]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_everything_else_passes_through_untouched(
    backchannel_producer: Producer, backchannel_events: RecordedEvents, kind: str
) -> None:
    seen: list[tuple[Any, ...]] = []

    async def inner(*arguments: Any) -> None:
        seen.append(arguments)

    scope = {"type": kind, "path": "/"}
    await BackchannelMiddleware(inner, backchannel_producer)(scope, never, never)  # type: ignore[arg-type]  # nobody sends

    assert seen == [(scope, never, never)]
    assert seen[0][0] is scope
    assert len(backchannel_events) == 0


async def test_an_application_without_routes_says_its_endpoint_itself(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("hi")(scope, receive, send)

    transport = httpx.ASGITransport(BackchannelMiddleware(bare, backchannel_producer))
    async with httpx.AsyncClient(transport=transport, base_url="http://bot") as client:
        assert (await client.get("/any/path")).text == "hi"

    assert backchannel_events.one(Interaction).endpoint == ""


# Behind a real server.


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """Serves an application and yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, log_level="critical", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve([listening]))
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def endless(request: Request) -> Response:
    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "tick "
            await asyncio.sleep(0.01)

    return StreamingResponse(ticks())


async def test_a_client_of_a_real_server_that_hangs_up_cancels_the_turn(
    backchannel_producer: Producer, backchannel_events: RecordedEvents
) -> None:
    app = BackchannelMiddleware(Starlette(routes=[Route("/t", endless)]), backchannel_producer)
    async with served(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /t HTTP/1.1\r\nHost: bot\r\n\r\n")
        assert b"tick" in await reader.readuntil(b"tick ")
        writer.close()
        async with asyncio.timeout(10):
            while not backchannel_producer.stats().offered:  # noqa: ASYNC110  # counts are polled
                await asyncio.sleep(0.01)

    turn = backchannel_events.one(Interaction)
    assert (turn.status, turn.endpoint, turn.http_status) == ("cancelled", "/t", 200)
    assert turn.ttfb_us is not None
