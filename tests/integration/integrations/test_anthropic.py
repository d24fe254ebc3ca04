"""Anthropic's own client against a server on this machine: what it returns, what is tracked."""

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from backchannel.events import Interaction, LlmCall
from backchannel.integrations.anthropic import wrap
from support.bot import Bot
from support.model_server import REPLY, ModelServer

ASKED: Any = {
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "How long does a refund take?"}],
}
USAGE = {
    "input_tokens": 100,
    "output_tokens": 40,
    "cache_read_tokens": 60,
    "cache_write_tokens": 10,
    "reasoning_tokens": 24,
    "usage_source": "provider",
}


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def client(bot: Bot, model_server: ModelServer) -> Iterator[Anthropic]:
    with Anthropic(base_url=model_server.url, api_key="sk-canary", max_retries=0) as plain:
        yield wrap(plain, bot.producer, provider="anthropic")


@pytest.fixture
async def aclient(bot: Bot, model_server: ModelServer) -> AsyncIterator[AsyncAnthropic]:
    url = model_server.url
    async with AsyncAnthropic(base_url=url, api_key="sk-canary", max_retries=0) as plain:
        yield wrap(plain, bot.producer, provider="anthropic")


def has(call: LlmCall, **fields: Any) -> bool:
    """Whether a call has these values; shows all of them where it has not."""
    found = {name: getattr(call, name) for name in fields}
    assert found == fields
    return True


def test_a_message_is_told_with_the_cache_in_its_input(bot: Bot, client: Anthropic) -> None:
    answer = client.messages.create(model="plain", **ASKED)

    assert answer.content[0].type == "text"
    assert has(
        bot.only(LlmCall),
        **USAGE,
        operation="chat",
        provider="anthropic",
        request_model="plain",
        response_model="plain-2026-01-01",
        response_id="msg_1",
        finish_reasons=("end_turn",),
        service_tier="standard",
        max_tokens=64,
        status="ok",
    )


async def test_the_asynchronous_client_is_told_of_just_the_same(
    bot: Bot, aclient: AsyncAnthropic
) -> None:
    await aclient.messages.create(model="plain", **ASKED)

    assert has(bot.only(LlmCall), **USAGE, status="ok")


def test_a_stream_is_the_same_stream_and_its_first_token_is_timed(
    bot: Bot, client: Anthropic
) -> None:
    stream = client.messages.create(model="plain", stream=True, **ASKED)
    assert next(stream).type == "message_start"
    bot.clock.advance(seconds=2)
    kinds = [event.type for event in stream]

    assert type(stream) is anthropic.Stream
    assert kinds[-1] == "message_stop"
    call = bot.only(LlmCall)
    assert has(call, **USAGE, streamed=True, ttft_us=2_000_000, finish_reasons=("end_turn",))


async def test_an_asynchronous_stream_too(bot: Bot, aclient: AsyncAnthropic) -> None:
    stream = await aclient.messages.create(model="plain", stream=True, **ASKED)
    kinds = [event.type async for event in stream]

    assert kinds[-1] == "message_stop"
    assert has(bot.only(LlmCall), **USAGE, streamed=True, status="ok")


def test_the_stream_of_the_helper_works_and_is_told(bot: Bot, client: Anthropic) -> None:
    with client.messages.stream(model="plain", **ASKED) as stream:
        assert "".join(stream.text_stream) == REPLY
        assert stream.get_final_message().usage.output_tokens == 40

    assert has(bot.only(LlmCall), **USAGE, streamed=True, status="ok")


async def test_the_asynchronous_helper_too(bot: Bot, aclient: AsyncAnthropic) -> None:
    async with aclient.messages.stream(model="plain", **ASKED) as stream:
        assert await stream.get_final_text() == REPLY

    assert has(bot.only(LlmCall), **USAGE, streamed=True, status="ok")


def test_a_helper_that_is_left_early_keeps_the_input_that_was_counted(
    bot: Bot, client: Anthropic
) -> None:
    with client.messages.stream(model="plain", **ASKED) as stream:
        assert next(iter(stream.text_stream)) == "Refunds"

    call = bot.only(LlmCall)
    assert has(call, status="cancelled", input_tokens=100, output_tokens=2, usage_source="estimate")


async def test_a_stream_that_is_thrown_away_is_cancelled(bot: Bot, aclient: AsyncAnthropic) -> None:
    stream = await aclient.messages.create(model="plain", stream=True, **ASKED)
    async for _ in stream:
        break
    await stream.close()
    del stream
    gc.collect()

    assert has(bot.only(LlmCall), status="cancelled", streamed=True)


@pytest.mark.parametrize(
    ("model", "raised", "status", "http_status"),
    [
        ("status-401", anthropic.AuthenticationError, "error", 401),
        ("status-429", anthropic.RateLimitError, "rate_limited", 429),
        ("status-500", anthropic.InternalServerError, "error", 500),
    ],
)
def test_an_error_passes_unchanged_and_is_told_without_its_message(
    bot: Bot,
    client: Anthropic,
    model: str,
    raised: type[Exception],
    status: str,
    http_status: int,
) -> None:
    with pytest.raises(raised, match="canary-in-a-message"):
        client.messages.create(model=model, **ASKED)

    call = bot.only(LlmCall)
    assert has(call, status=status, http_status=http_status, error_type=raised.__name__)
    assert "canary" not in call.model_dump_json()


def test_an_error_in_the_middle_of_a_stream_passes_and_keeps_what_came(
    bot: Bot, client: Anthropic
) -> None:
    with pytest.raises(anthropic.APIStatusError):
        list(client.messages.create(model="overloaded", stream=True, **ASKED))

    call = bot.only(LlmCall)
    assert has(call, status="error", input_tokens=100, output_tokens=6, usage_source="estimate")


def test_a_stream_that_breaks_is_an_error(bot: Bot, client: Anthropic) -> None:
    with pytest.raises(Exception, match=r"peer closed|incomplete"):
        list(client.messages.create(model="cut", stream=True, **ASKED))

    assert has(bot.only(LlmCall), status="error", error_type="RemoteProtocolError")


def test_an_answer_that_was_refused_is_blocked(bot: Bot, client: Anthropic) -> None:
    client.messages.create(model="filtered", **ASKED)

    assert has(bot.only(LlmCall), status="blocked", finish_reasons=("refusal",))


def test_tools_raw_responses_and_beta_work_and_are_told(bot: Bot, client: Anthropic) -> None:
    answer = client.messages.create(model="tool", **ASKED)
    raw = client.messages.with_raw_response.create(model="plain", **ASKED)
    beta = client.beta.messages.create(model="plain", **ASKED)

    assert answer.content[0].type == "tool_use"
    assert raw.parse().id == beta.id == "msg_1"
    assert [call.input_tokens for call in bot.all(LlmCall)] == [100, 100, 100]


class Duration(BaseModel):
    days: int


def test_parsed_answers_stay_parsed(bot: Bot, client: Anthropic) -> None:
    answer = client.messages.parse(model="plain", output_format=Duration, **ASKED)

    assert answer.parsed_output == Duration(days=5)
    assert has(bot.only(LlmCall), **USAGE, status="ok")


def test_a_streaming_response_is_told_when_it_is_parsed(bot: Bot, client: Anthropic) -> None:
    with client.messages.with_streaming_response.create(model="plain", **ASKED) as response:
        assert response.parse().content[0].type == "text"

    assert has(bot.only(LlmCall), **USAGE, status="ok")


def test_copies_are_watched_wrapping_twice_counts_once_and_counting_tokens_is_no_call(
    bot: Bot, client: Anthropic
) -> None:
    wrap(wrap(client, bot.producer).with_options(timeout=5), bot.producer).messages.create(
        model="plain", **ASKED
    )
    with pytest.raises(anthropic.NotFoundError):  # the server here has no such thing
        client.messages.count_tokens(model="plain", messages=ASKED["messages"])

    assert len(bot.all(LlmCall)) == 1


def test_a_call_belongs_to_the_turn_that_it_is_made_in(bot: Bot, client: Anthropic) -> None:
    with bot.producer.interaction(conversation_id="c-1"):
        client.messages.create(model="plain", **ASKED)

    call, turn = bot.events()
    assert isinstance(turn, Interaction)
    assert (call.conversation_id, call.parent_span_id) == ("c-1", turn.span_id)
    assert (turn.input_tokens, turn.cache_read_tokens, turn.llm_calls) == (100, 60, 1)
