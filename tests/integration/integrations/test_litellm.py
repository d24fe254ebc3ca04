"""litellm itself against a server on this machine: what its logger tells becomes calls."""

import asyncio
import gc
import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backchannel.events import Event, Interaction, LlmCall
from support.bot import Bot
from support.model_server import REPLY, ModelServer

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # no network but the server here

litellm = pytest.importorskip("litellm")

from backchannel.integrations.litellm import LitellmLogger, litellm_usage  # noqa: E402

# litellm warns of its own types, and leaves its connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")

QUESTION: Any = [{"role": "user", "content": "How long does a refund take?"}]


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """What litellm leaves behind goes here, and not in the middle of another module's test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litellm.in_memory_llm_clients_cache.flush_cache()
        gc.collect()


@pytest.fixture
def bot() -> Bot:
    bot = Bot()
    bot.producer.start()  # litellm's thread would be the one to do it, maybe after the close here
    return bot


@pytest.fixture
def logger(bot: Bot) -> Iterator[LitellmLogger]:
    logger = LitellmLogger(bot.producer)
    litellm.callbacks.append(logger)
    yield logger
    litellm.logging_callback_manager._reset_all_callbacks()  # it keeps one logger of a class


@pytest.fixture
def to(model_server: ModelServer) -> dict[str, Any]:
    """Where calls go."""
    return {"api_base": f"{model_server.url}/v1", "api_key": "sk-canary", "num_retries": 0}


def told(bot: Bot, count: int = 1) -> list[Event]:
    """The events, once as many have been told: litellm tells of them afterwards."""
    end = time.monotonic() + 10
    while bot.producer.stats().accepted < count and time.monotonic() < end:
        time.sleep(0.01)
    return bot.events()


def has(event: Event, **fields: Any) -> bool:
    """Whether an event has these values; shows all of them where it has not."""
    found = {name: getattr(event, name) for name in fields}
    assert found == fields
    return True


def test_a_completion_is_told_with_the_cost_that_litellm_worked_out(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any]
) -> None:
    answer = litellm.completion(
        model="openai/gpt-4o-mini",
        messages=QUESTION,
        temperature=0.5,
        metadata={"conversation_id": "c-1", "user_id": "u-1"},
        **to,
    )

    assert answer.choices[0].message.content == REPLY
    (call,) = told(bot)
    assert isinstance(call, LlmCall)
    assert has(
        call,
        operation="chat",
        provider="openai",
        request_model="gpt-4o-mini",
        response_id="chatcmpl-1",
        conversation_id="c-1",
        user_id="u-1",
        input_tokens=100,
        output_tokens=40,
        cache_read_tokens=64,
        reasoning_tokens=24,
        usage_source="provider",
        cost_source="reported",
        cost_status="priced",
        temperature=500_000,
        server_address="127.0.0.1",
        finish_reasons=("stop",),
        status="ok",
    )
    assert call.cost_picousd
    assert call.duration_us > 0
    assert not any(word in call.model_dump_json() for word in ("refund", "Refund", "sk-canary"))


async def test_an_awaited_call_counts_in_its_turn_though_litellm_logs_it_later(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any]
) -> None:
    async with bot.producer.interaction(conversation_id="c-1"):
        await litellm.acompletion(model="openai/gpt-4o-mini", messages=QUESTION, **to)
    await asyncio.sleep(0.3)  # litellm's own task tells of it again

    call, turn = told(bot, 2)
    assert isinstance(turn, Interaction)
    assert has(turn, llm_calls=1, input_tokens=100, output_tokens=40, cost_status="priced")
    assert has(
        call,
        conversation_id="c-1",
        parent_span_id=turn.span_id,
        request_model="gpt-4o-mini",
        provider="openai",
        cost_source="reported",
        server_address="127.0.0.1",
    )


async def test_an_awaited_call_outside_of_any_turn_is_told_once(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any]
) -> None:
    await litellm.acompletion(model="openai/gpt-4o-mini", messages=QUESTION, **to)
    await asyncio.sleep(0.3)

    assert has(told(bot)[0], input_tokens=100, cost_source="reported", status="ok")
    assert bot.producer.stats().accepted == 1


def test_a_synchronous_call_belongs_to_its_turn(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any]
) -> None:
    with bot.producer.interaction(conversation_id="c-1") as turn:
        litellm.completion(model="openai/gpt-4o-mini", messages=QUESTION, **to)

    calls = [event for event in told(bot, 2) if isinstance(event, LlmCall)]
    assert [call.parent_span_id for call in calls] == [turn.span_id]


@pytest.mark.parametrize(("counted", "source"), [(True, "provider"), (False, "estimate")])
async def test_a_stream_is_told_at_its_end_with_its_first_token(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any], counted: bool, source: str
) -> None:
    options = {"stream_options": {"include_usage": True}} if counted else {}
    answer = await litellm.acompletion(
        model="openai/plain", messages=QUESTION, stream=True, **options, **to
    )
    words = [chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices]
    await asyncio.sleep(0.3)

    assert "".join(words) == REPLY
    (call,) = told(bot)
    assert isinstance(call, LlmCall)
    assert has(call, streamed=True, usage_source=source, finish_reasons=("stop",))
    assert call.ttft_us is not None
    assert call.input_tokens == (100 if counted else 7)


@pytest.mark.parametrize(
    ("model", "status", "http_status"),
    [("status-401", "error", 401), ("status-429", "rate_limited", 429)],
)
def test_a_failed_call_is_told_without_its_message(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any], model: str, status: str, http_status: int
) -> None:
    with pytest.raises(Exception, match="canary-in-a-message"):
        litellm.completion(model=f"openai/{model}", messages=QUESTION, **to)

    (call,) = told(bot)
    assert has(call, status=status, http_status=http_status, request_model=model)
    assert "canary" not in call.model_dump_json()


async def test_an_awaited_call_that_fails_is_told_once(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any]
) -> None:
    with pytest.raises(litellm.RateLimitError):
        await litellm.acompletion(model="openai/status-429", messages=QUESTION, **to)
    await asyncio.sleep(0.3)

    assert [has(event, status="rate_limited") for event in told(bot)] == [True]


def test_embeddings_are_told(bot: Bot, logger: LitellmLogger, to: dict[str, Any]) -> None:
    litellm.embedding(model="openai/text-embedding-3-small", input=["one", "two"], **to)

    assert has(told(bot)[0], operation="embeddings", input_tokens=8, cost_source="reported")


def test_a_model_without_a_price_is_unpriced_not_free(
    bot: Bot, logger: LitellmLogger, to: dict[str, Any]
) -> None:
    litellm.completion(model="openai/plain", messages=QUESTION, **to)

    assert has(told(bot)[0], cost_picousd=None, cost_status="unpriced")


async def test_the_snippet_of_the_page_runs_as_it_stands(
    bot: Bot,
    logger: LitellmLogger,
    model_server: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model_server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    litellm.logging_callback_manager._reset_all_callbacks()  # the snippet adds its own
    page = (Path(__file__).parents[3] / "docs/integrations.md").read_text("utf-8")
    [snippet] = re.findall(r"<!-- run: litellm -->\n```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {"producer": bot.producer}
    exec(snippet, names)

    assert await names["answer"]("How long?") == REPLY
    assert has(told(bot, 2)[1], conversation_id="c-17", input_tokens=100, llm_calls=1)


def test_litellm_tells_the_cache_in_anthropics_words() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "total_tokens": 105,
        "prompt_tokens_details": {"cached_tokens": 60},
        "cache_creation_input_tokens": 10,
    }

    assert litellm_usage(usage) == {
        "input_tokens": 100,
        "output_tokens": 5,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
    }


def test_a_logger_survives_whatever_it_is_told(bot: Bot, logger: LitellmLogger) -> None:
    class HostileError(Exception):
        @property
        def status_code(self) -> int:
            raise ZeroDivisionError

    hostile: Any = {"standard_logging_object": {"model": 5}, "exception": HostileError()}
    logger.log_failure_event(hostile, None, None, None)
    logger.log_success_event(None, None, None, None)

    assert [has(event, status="error") for event in told(bot)] == [True]
