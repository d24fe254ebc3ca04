"""One producer in a synchronous bot: real Flask in threads, a real Celery worker, no event loop."""

import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from flask import Flask, Response, stream_with_context
from werkzeug.serving import make_server

from backchannel import current_turn
from backchannel.events import Interaction, LlmCall, ToolCall
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def address(bot: Bot) -> Iterator[str]:
    """A Flask bot behind a threaded server."""
    app = Flask("bot")

    @app.get("/chat/<user>")
    def chat(user: str) -> str:
        with bot.producer.interaction(conversation_id=f"c-{user}", user_id=user):
            with bot.producer.llm_call("m") as call:
                call.usage(input_tokens=int(user))
            return "hello"

    @app.get("/stream")
    def stream() -> Response:
        turn = bot.producer.interaction(conversation_id="s")
        call = turn.llm_call("m")
        words = turn.stream(call.stream(f"word {number} " for number in range(10_000)))
        return Response(stream_with_context(iter(words)))

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def test_turns_of_flask_in_many_threads_keep_to_their_own(bot: Bot, address: str) -> None:
    def ask(user: int) -> None:
        for _ in range(5):
            assert httpx.get(f"{address}/chat/{user}").text == "hello"

    threads = [threading.Thread(target=ask, args=(user,)) for user in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    events = bot.events()
    turns = {e.trace_id: e for e in events if isinstance(e, Interaction)}
    assert len(turns) == 40
    for call in (e for e in events if isinstance(e, LlmCall)):
        turn = turns[call.trace_id]
        assert (call.user_id, turn.input_tokens) == (turn.user_id, int(turn.user_id))


def test_a_stream_of_flask_lasts_as_long_as_it_is_read(bot: Bot, address: str) -> None:
    assert httpx.get(f"{address}/stream").text.count("word") == 10_000

    assert bot.only(Interaction).status == "ok"
    assert bot.only(LlmCall).streamed


def test_a_stream_of_flask_that_the_client_leaves_is_cancelled(bot: Bot, address: str) -> None:
    with httpx.stream("GET", f"{address}/stream") as answer:
        next(answer.iter_text())
    deadline = time.monotonic() + 10
    while bot.producer.stats().offered < 2 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert {event.conversation_id for event in bot.events()} == {"s"}
    assert bot.only(Interaction).status == "cancelled"


def test_a_celery_worker_tells_its_turns(bot: Bot) -> None:
    app = Celery("bot", broker="memory://", backend="cache+memory://")

    @app.task  # type: ignore[untyped-decorator]  # Celery has no types
    @bot.producer.observe(kind="interaction", name="summarise")
    def summarise(conversation: str) -> str:
        turn = current_turn()
        assert turn is not None
        turn.set(conversation_id=conversation)
        with bot.producer.tool_call("fetch"):
            return "done"

    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=20):
        answers = [summarise.delay(f"c{number}").get(timeout=20) for number in range(3)]

    assert answers == ["done"] * 3
    assert bot.producer.flush_sync(5) == 0
    assert [turn.conversation_id for turn in bot.all(Interaction)] == ["c0", "c1", "c2"]
    assert [tool.conversation_id for tool in bot.all(ToolCall)] == ["c0", "c1", "c2"]
