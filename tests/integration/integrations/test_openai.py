"""OpenAI's own client against a server on this machine: what it returns, and what is tracked."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from backchannel.events import Interaction, LlmCall
from backchannel.integrations.openai import wrap
from support.bot import Bot
from support.model_server import REPLY, ModelServer

QUESTION: Any = [{"role": "user", "content": "How long does a refund take?"}]
USAGE = {
    "input_tokens": 100,
    "output_tokens": 40,
    "cache_read_tokens": 64,
    "reasoning_tokens": 24,
    "usage_source": "provider",
}


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def client(bot: Bot, model_server: ModelServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{model_server.url}/v1", api_key="sk-canary", max_retries=0) as plain:
        yield wrap(plain, bot.producer, provider="openai")


@pytest.fixture
async def aclient(bot: Bot, model_server: ModelServer) -> AsyncIterator[AsyncOpenAI]:
    url = f"{model_server.url}/v1"
    async with AsyncOpenAI(base_url=url, api_key="sk-canary", max_retries=0) as plain:
        yield wrap(plain, bot.producer, provider="openai")


def has(call: LlmCall, **fields: Any) -> bool:
    """Whether a call has these values; shows all of them where it has not."""
    found = {name: getattr(call, name) for name in fields}
    assert found == fields
    return True


def test_a_chat_answer_is_told_with_its_usage_and_returned_as_it_is(
    bot: Bot, client: OpenAI
) -> None:
    answer = client.chat.completions.create(
        model="plain", messages=QUESTION, temperature=0.2, max_completion_tokens=50
    )

    assert answer.choices[0].message.content == REPLY
    assert has(
        bot.only(LlmCall),
        **USAGE,
        operation="chat",
        provider="openai",
        request_model="plain",
        response_model="plain-2026-01-01",
        response_id="chatcmpl-1",
        finish_reasons=("stop",),
        service_tier="default",
        temperature=200_000,
        max_tokens=50,
        server_address="127.0.0.1",
        status="ok",
        streamed=False,
    )


async def test_the_asynchronous_client_is_told_of_just_the_same(
    bot: Bot, aclient: AsyncOpenAI
) -> None:
    answer = await aclient.chat.completions.create(model="plain", messages=QUESTION)

    assert answer.choices[0].message.content == REPLY
    assert has(bot.only(LlmCall), **USAGE, status="ok")


def test_a_stream_is_the_same_stream_and_tells_its_usage_without_showing_it(
    bot: Bot, client: OpenAI
) -> None:
    stream = client.chat.completions.create(model="plain", messages=QUESTION, stream=True)
    chunks = list(stream)

    assert type(stream) is openai.Stream
    assert isinstance(stream.response, httpx.Response)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == REPLY
    assert has(bot.only(LlmCall), **USAGE, streamed=True, finish_reasons=("stop",), status="ok")


async def test_an_asynchronous_stream_too(bot: Bot, aclient: AsyncOpenAI) -> None:
    stream = await aclient.chat.completions.create(model="plain", messages=QUESTION, stream=True)
    words = [chunk.choices[0].delta.content or "" async for chunk in stream]

    assert type(stream) is openai.AsyncStream
    assert "".join(words) == REPLY
    assert has(bot.only(LlmCall), **USAGE, streamed=True, status="ok")


def test_usage_that_the_bot_asked_for_itself_is_shown_to_it(bot: Bot, client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="plain",
            messages=QUESTION,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert has(bot.only(LlmCall), **USAGE)


def test_usage_that_the_bot_declined_is_not_asked_for_but_estimated(
    bot: Bot, client: OpenAI, model_server: ModelServer
) -> None:
    declined: Any = {"include_usage": False}
    list(
        client.chat.completions.create(
            model="plain", messages=QUESTION, stream=True, stream_options=declined
        )
    )

    assert model_server.requests[-1]["stream_options"] == declined
    assert has(bot.only(LlmCall), input_tokens=7, output_tokens=6, usage_source="estimate")


def test_a_server_that_nobody_knows_is_asked_for_nothing_more(
    bot: Bot, model_server: ModelServer
) -> None:
    with OpenAI(base_url=f"{model_server.url}/v1", api_key="k") as plain:
        list(
            wrap(plain, bot.producer).chat.completions.create(
                model="plain", messages=QUESTION, stream=True
            )
        )

    assert "stream_options" not in model_server.requests[-1]
    assert has(bot.only(LlmCall), provider="127.0.0.1", usage_source="estimate", status="ok")


def test_the_first_token_is_timed_not_the_first_piece(
    bot: Bot, client: OpenAI, model_server: ModelServer
) -> None:
    stream = client.chat.completions.create(model="plain", messages=QUESTION, stream=True)
    next(stream)  # only says that the assistant speaks
    bot.clock.advance(seconds=2)
    next(stream)  # the first word
    bot.clock.advance(seconds=3)
    list(stream)

    assert has(bot.only(LlmCall), ttft_us=2_000_000, duration_us=5_000_000)


def test_a_response_of_the_newer_interface(bot: Bot, client: OpenAI) -> None:
    answer = client.responses.create(model="plain", input="How long?", max_output_tokens=99)

    assert answer.output_text == REPLY
    assert has(
        bot.only(LlmCall),
        **USAGE,
        operation="chat",
        response_id="resp_1",
        finish_reasons=("completed",),
        service_tier="flex",
        max_tokens=99,
    )


def test_the_first_token_of_a_response_is_not_the_news_that_it_was_created(
    bot: Bot, client: OpenAI
) -> None:
    stream = client.responses.create(model="plain", input="How long?", stream=True)
    assert next(stream).type == "response.created"
    bot.clock.advance(seconds=2)
    kinds = [event.type for event in stream]

    assert kinds[-1] == "response.completed"
    assert has(bot.only(LlmCall), **USAGE, ttft_us=2_000_000, streamed=True)


def test_a_response_that_fails_in_its_stream_is_an_error_without_its_message(
    bot: Bot, client: OpenAI
) -> None:
    list(client.responses.create(model="failing", input="How long?", stream=True))

    call = bot.only(LlmCall)
    assert has(call, status="error", error_type="server_error", error_message="")


@pytest.mark.parametrize(
    ("given", "size"), [("one", 1), (["one", "two"], 2), ([1, 2, 3], 1), ([[1], [2]], 2)]
)
def test_embeddings_are_counted_with_the_size_of_their_batch(
    bot: Bot, client: OpenAI, given: Any, size: int
) -> None:
    client.embeddings.create(model="plain", input=given)

    assert has(bot.only(LlmCall), operation="embeddings", input_tokens=8, batch_size=size)


@pytest.mark.parametrize(
    ("model", "raised", "status", "http_status"),
    [
        ("status-401", openai.AuthenticationError, "error", 401),
        ("status-429", openai.RateLimitError, "rate_limited", 429),
        ("status-500", openai.InternalServerError, "error", 500),
    ],
)
def test_an_error_passes_unchanged_and_is_told_without_its_message(
    bot: Bot, client: OpenAI, model: str, raised: type[Exception], status: str, http_status: int
) -> None:
    with pytest.raises(raised, match="canary-in-a-message"):
        client.chat.completions.create(model=model, messages=QUESTION)

    call = bot.only(LlmCall)
    assert has(call, status=status, http_status=http_status, error_type=raised.__name__)
    assert "canary" not in call.model_dump_json()


def test_a_server_that_does_not_answer_is_a_timeout(bot: Bot, client: OpenAI) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.1).chat.completions.create(model="hang", messages=QUESTION)

    assert has(bot.only(LlmCall), status="timeout", error_type="APITimeoutError")


async def test_a_call_whose_task_is_cancelled_is_cancelled(bot: Bot, aclient: AsyncOpenAI) -> None:
    task = asyncio.create_task(aclient.chat.completions.create(model="hang", messages=QUESTION))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert has(bot.only(LlmCall), status="cancelled", error_type="")


def test_retries_inside_the_client_are_one_call(bot: Bot, client: OpenAI) -> None:
    patient = client.with_options(max_retries=1)
    list(patient.chat.completions.create(model="flaky", messages=QUESTION, stream=True))

    assert has(bot.only(LlmCall), retries=1, status="ok")


def test_a_stream_that_breaks_raises_what_it_raised_and_keeps_what_came(
    bot: Bot, client: OpenAI
) -> None:
    stream = client.chat.completions.create(model="cut", messages=QUESTION, stream=True)
    with pytest.raises(httpx.RemoteProtocolError):
        list(stream)

    call = bot.only(LlmCall)
    assert has(call, status="error", error_type="RemoteProtocolError", usage_source="estimate")
    assert call.output_tokens > 0


def test_a_stream_that_is_closed_early_is_cancelled_with_what_came(
    bot: Bot, client: OpenAI
) -> None:
    with client.chat.completions.create(model="endless", messages=QUESTION, stream=True) as stream:
        for _ in range(3):
            next(stream)

    assert stream.response.is_closed
    call = bot.only(LlmCall)
    assert has(call, status="cancelled", input_tokens=7, output_tokens=3, usage_source="estimate")


def test_a_stream_that_is_thrown_away_lasted_until_its_last_piece(bot: Bot, client: OpenAI) -> None:
    stream = client.chat.completions.create(model="endless", messages=QUESTION, stream=True)
    bot.clock.advance(seconds=1)
    next(stream)
    bot.clock.advance(seconds=60)
    del stream
    gc.collect()

    assert has(bot.only(LlmCall), status="cancelled", duration_us=1_000_000)


async def test_an_asynchronous_stream_that_is_left_is_cancelled(
    bot: Bot, aclient: AsyncOpenAI
) -> None:
    stream = await aclient.chat.completions.create(model="endless", messages=QUESTION, stream=True)
    async for _ in stream:
        break
    await stream.close()

    assert has(bot.only(LlmCall), status="cancelled", streamed=True)


def test_a_stream_that_is_left_after_its_end_was_told_is_no_failure(
    bot: Bot, client: OpenAI
) -> None:
    with client.chat.completions.create(model="plain", messages=QUESTION, stream=True) as stream:
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break

    assert has(bot.only(LlmCall), status="ok", finish_reasons=("stop",), usage_source="estimate")


def test_an_answer_that_a_filter_stopped_is_blocked(bot: Bot, client: OpenAI) -> None:
    client.chat.completions.create(model="filtered", messages=QUESTION)

    assert has(bot.only(LlmCall), status="blocked", finish_reasons=("content_filter",))


class Duration(BaseModel):
    days: int


def test_parsed_answers_stay_parsed(bot: Bot, client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="plain", messages=QUESTION, response_format=Duration
    )

    assert answer.choices[0].message.parsed == Duration(days=5)
    assert has(bot.only(LlmCall), **USAGE)


def test_parsed_answers_of_the_newer_interface_stay_parsed(bot: Bot, client: OpenAI) -> None:
    answer = client.responses.parse(model="plain", input="How long?", text_format=Duration)

    assert answer.output_parsed == Duration(days=5)
    assert has(bot.only(LlmCall), **USAGE, response_id="resp_1")


def test_a_completion_of_the_old_interface_is_told(bot: Bot, client: OpenAI) -> None:
    answer = client.completions.create(model="plain", prompt="How long?", max_tokens=9)

    assert answer.choices[0].text == REPLY
    assert has(
        bot.only(LlmCall),
        **USAGE,
        operation="text_completion",
        max_tokens=9,
        finish_reasons=("stop",),
    )


async def test_a_stream_of_the_old_interface_tells_its_usage_without_showing_it(
    bot: Bot, aclient: AsyncOpenAI
) -> None:
    stream = await aclient.completions.create(model="plain", prompt="How long?", stream=True)
    words = [piece.choices[0].text async for piece in stream]

    assert "".join(words) == REPLY
    assert has(bot.only(LlmCall), **USAGE, operation="text_completion", streamed=True)


def test_the_stream_of_the_helper_works_and_is_told(bot: Bot, client: OpenAI) -> None:
    with client.chat.completions.stream(model="plain", messages=QUESTION) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_completion().choices[0].message.content == REPLY

    assert "content.delta" in kinds
    assert has(bot.only(LlmCall), **USAGE, status="ok", streamed=True)


def test_a_stream_of_tool_arguments_has_a_first_token(bot: Bot, client: OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="tool", messages=QUESTION, stream=True))

    assert any(chunk.choices[0].delta.tool_calls for chunk in chunks)
    call = bot.only(LlmCall)
    assert has(call, finish_reasons=("tool_calls",), streamed=True)
    assert call.ttft_us is not None


def test_a_raw_response_is_told_and_still_raw(bot: Bot, client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="plain", messages=QUESTION)

    assert raw.http_response.status_code == 200
    assert raw.parse().choices[0].message.content == REPLY
    assert has(bot.only(LlmCall), **USAGE, retries=0)


def test_the_stream_of_a_raw_response_is_told_and_never_asked_for_more(
    bot: Bot, client: OpenAI, model_server: ModelServer
) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="plain", messages=QUESTION, stream=True
    )
    chunks = list(raw.parse())

    assert "stream_options" not in model_server.requests[-1]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == REPLY
    assert has(bot.only(LlmCall), status="ok", streamed=True, usage_source="estimate")


def test_a_streaming_response_is_told_when_it_is_parsed(bot: Bot, client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="plain", messages=QUESTION
    ) as response:
        assert response.parse().choices[0].message.content == REPLY

    assert has(bot.only(LlmCall), **USAGE)


async def test_a_stream_inside_a_streaming_response_is_told_too(
    bot: Bot, aclient: AsyncOpenAI
) -> None:
    async with aclient.responses.with_streaming_response.create(
        model="plain", input="How long?", stream=True
    ) as response:
        kinds = {event.type async for event in await response.parse()}

    assert "response.completed" in kinds
    assert has(bot.only(LlmCall), **USAGE, streamed=True, status="ok")


async def test_a_streaming_response_whose_bytes_the_bot_reads_is_one_call_without_figures(
    bot: Bot, aclient: AsyncOpenAI
) -> None:
    async with aclient.chat.completions.with_streaming_response.create(
        model="plain", messages=QUESTION
    ) as response:
        assert REPLY in await response.text()

    assert has(bot.only(LlmCall), status="ok", usage_source="")


def test_copies_of_a_client_are_watched_and_wrapping_twice_counts_once(
    bot: Bot, client: OpenAI
) -> None:
    again = wrap(client, bot.producer)
    copy = wrap(again.with_options(timeout=5).copy(), bot.producer)
    copy.chat.completions.create(model="plain", messages=QUESTION)

    assert again is client
    assert len(bot.all(LlmCall)) == 1


def test_other_clients_stay_as_they_are(
    bot: Bot, client: OpenAI, model_server: ModelServer
) -> None:
    with OpenAI(base_url=f"{model_server.url}/v1", api_key="k") as other:
        other.chat.completions.create(model="plain", messages=QUESTION)

    assert bot.events() == []


def test_a_call_belongs_to_the_turn_that_it_is_made_in(bot: Bot, client: OpenAI) -> None:
    with bot.producer.interaction(conversation_id="c-1", user_id="u-1"):
        client.chat.completions.create(model="plain", messages=QUESTION)

    call, turn = bot.events()
    assert isinstance(turn, Interaction)
    assert isinstance(call, LlmCall)
    assert (call.conversation_id, call.user_id) == ("c-1", "u-1")
    assert call.parent_span_id == turn.span_id != ""
    assert (turn.input_tokens, turn.llm_calls, turn.model) == (100, 1, "plain-2026-01-01")


def test_no_word_of_prompt_answer_or_key_is_in_an_event(bot: Bot, client: OpenAI) -> None:
    client.chat.completions.create(model="plain", messages=QUESTION)
    list(client.responses.create(model="plain", input="How long?", stream=True))
    client.embeddings.create(model="plain", input="How long?")

    told = "".join(event.model_dump_json() for event in bot.events())
    assert not any(word in told for word in ("refund", "Refund", "How long", "sk-canary"))


def test_azures_client_is_told_with_its_deployment(bot: Bot, model_server: ModelServer) -> None:
    with AzureOpenAI(
        azure_endpoint=model_server.url, api_key="sk-canary", api_version="2025-01-01"
    ) as plain:
        client = wrap(plain, bot.producer, provider="azure")
        list(client.chat.completions.create(model="plain", messages=QUESTION, stream=True))

    assert has(bot.only(LlmCall), **USAGE, provider="azure", request_model="plain")


def test_what_is_no_client_is_refused_when_it_is_wrapped(bot: Bot) -> None:
    with pytest.raises(TypeError, match="object is no client"):
        wrap(object(), bot.producer)
