"""The examples of "Put it into your bot" run as they stand on the page."""

# Django publishes no types.
# mypy: disable-error-code="import-untyped"

import asyncio
import functools
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
import sentry_sdk
from django.conf import settings as django_settings
from django.test import AsyncClient, Client
from django.test.utils import override_settings
from django.urls import path
from starlette.testclient import TestClient

from backchannel import current_turn
from backchannel.events import ErrorEvent, Interaction, LlmCall, Retrieval
from backchannel.testing import RecordedEvents
from backchannel_deploy.replay.trace import read_rows

PAGE = (Path(__file__).parents[2] / "docs" / "your-bot.md").read_text("utf-8")


def example(mark: str) -> str:
    (code,) = re.findall(rf"<!-- run: {mark} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    return str(code)


def run(mark: str, **names: Any) -> dict[str, Any]:
    """Runs an example as a module of its own and returns what it has defined."""
    module: dict[str, Any] = {"__name__": f"example_{mark}", **names}
    exec(compile(example(mark), f"your-bot.md: {mark}", "exec"), module)
    return module


def test_fastapi(backchannel_events: RecordedEvents) -> None:
    with TestClient(run("fastapi")["app"]) as client:
        answer = client.post("/chat/c-1", params={"question": "where is it?"})
        assert answer.text == "It is on its way."
        assert "chatbot_requests_total" in client.get("/metrics/").text

    turn, call = backchannel_events.one(Interaction), backchannel_events.one(LlmCall)
    assert (turn.endpoint, turn.http_status) == ("/chat/{conversation_id}", 200)
    assert (turn.conversation_id, turn.intent) == ("c-1", "order_status")
    assert (turn.input_tokens, turn.output_tokens, turn.model) == (42, 7, "gpt-4o-mini")
    assert call.trace_id == turn.trace_id
    assert None not in (turn.ttfb_us, turn.ttft_us, call.ttft_us)
    backchannel_events.assert_no_loss()


@pytest.fixture
def django_views(backchannel_events: RecordedEvents) -> dict[str, Any]:
    if not django_settings.configured:
        django_settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="of a test", USE_TZ=True)
        django.setup()
    views = run("django")
    routes = ModuleType("routes")
    routes.urlpatterns = [  # type: ignore[attr-defined]  # that is what Django looks for
        path(f"{name}/<conversation_id>", views[name]) for name in ("chat", "async_chat", "words")
    ]
    views["routes"] = routes
    return views


def test_plain_views_of_django_in_several_threads(
    backchannel_events: RecordedEvents, django_views: dict[str, Any]
) -> None:
    def ask(number: int) -> Any:
        return Client().post(f"/chat/c-{number}", {"question": "where is it?"}).json()

    with override_settings(ROOT_URLCONF=django_views["routes"]), ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(ask, range(8)))

    turns = {turn.conversation_id: turn for turn in backchannel_events.of(Interaction)}
    assert replies == [{"reply": "It is on its way."}] * 8
    assert set(turns) == {f"c-{number}" for number in range(8)}
    assert {turn.endpoint for turn in turns.values()} == {"chat/<conversation_id>"}
    for call in backchannel_events.of(LlmCall):
        assert call.trace_id == turns[call.conversation_id].trace_id
    backchannel_events.assert_no_loss()


async def test_async_views_of_django_at_once(
    backchannel_events: RecordedEvents, django_views: dict[str, Any]
) -> None:
    with override_settings(ROOT_URLCONF=django_views["routes"]):
        asked = (
            AsyncClient().post(f"/async_chat/c-{number}", {"question": "where is it?"})
            for number in range(8)
        )
        answers = await asyncio.gather(*asked)

    assert [answer.status_code for answer in answers] == [200] * 8
    turns = {turn.conversation_id: turn for turn in backchannel_events.of(Interaction)}
    calls = {call.conversation_id: call for call in backchannel_events.of(LlmCall)}
    assert {key: call.trace_id for key, call in calls.items()} == {
        key: turn.trace_id for key, turn in turns.items()
    }
    assert {turn.input_tokens for turn in turns.values()} == {42}


def test_a_streamed_answer_of_django_lasts_until_it_is_read_or_left(
    backchannel_events: RecordedEvents, django_views: dict[str, Any]
) -> None:
    with override_settings(ROOT_URLCONF=django_views["routes"]):
        whole = Client().get("/words/read")
        assert b"".join(whole.streaming_content) == b"It is on its way. "
        left = Client().get("/words/left")
        next(iter(left.streaming_content))
        left.close()

    turns = {turn.conversation_id: turn.status for turn in backchannel_events.of(Interaction)}
    assert turns == {"read": "ok", "left": "cancelled"}


def test_flask_in_several_threads(backchannel_events: RecordedEvents) -> None:
    app = run("flask")["app"]

    def ask(number: int) -> Any:
        return app.test_client().post(f"/chat/c-{number}", json={"question": "where is it?"}).json

    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(ask, range(8)))

    turns = backchannel_events.of(Interaction)
    assert replies == [{"reply": "It is on its way."}] * 8
    assert {turn.conversation_id for turn in turns} == {f"c-{number}" for number in range(8)}
    assert {(turn.endpoint, turn.input_tokens) for turn in turns} == {
        ("/chat/<conversation_id>", 42)
    }
    assert len(backchannel_events.of(Retrieval)) == 8
    backchannel_events.assert_no_loss()


def test_langchain(backchannel_events: RecordedEvents) -> None:
    answer = run("langchain")["answer"]

    assert answer("c-1", "where is it?") == "It is on its way."
    turn, call = backchannel_events.one(Interaction), backchannel_events.one(LlmCall)
    assert (turn.conversation_id, turn.llm_calls, turn.status) == ("c-1", 1, "ok")
    assert call.conversation_id == "c-1"
    backchannel_events.assert_no_loss()


def test_a_bare_loop(
    backchannel_events: RecordedEvents, capsys: pytest.CaptureFixture[str]
) -> None:
    said = iter(["hello", "where is my order?", "bye"])
    run("loop", input=lambda prompt: next(said))["main"]()

    assert capsys.readouterr().out.splitlines() == [
        "You said: hello",
        "You said: where is my order?",
    ]
    turns = backchannel_events.of(Interaction)
    assert [(turn.turn, turn.input_tokens) for turn in turns] == [(1, 1), (2, 4)]
    backchannel_events.assert_no_loss()


def test_sentry_and_logging(
    backchannel_events: RecordedEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its integrations patch every framework there is in this process, for good.
    quiet = functools.partial(sentry_sdk.init, default_integrations=False)
    monkeypatch.setattr(sentry_sdk, "init", quiet)
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)  # Celery's tests raise it
    before = logging.getLogger().handlers[:]
    try:
        run("errors")
        # A name of its own: whoever configured logging before may have switched off the others.
        logging.getLogger("the bot of this page").warning("the index is stale")
    finally:
        logging.getLogger().handlers[:] = before
        sentry_sdk.get_global_scope().set_client(None)

    assert backchannel_events.one(ErrorEvent).message == "the index is stale"


def test_the_test_of_a_bot(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(example("tests"))
    options = "-oasyncio_default_fixture_loop_scope=function"
    pytester.runpytest_inprocess(options).assert_outcomes(passed=1)


def test_a_file_in_place_of_a_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("jsonl")

    (row,) = read_rows(tmp_path / "events.jsonl")
    assert isinstance(row, Interaction)
    assert row.conversation_id == "c-1"


def test_no_example_leaves_a_turn_open() -> None:
    assert current_turn() is None
