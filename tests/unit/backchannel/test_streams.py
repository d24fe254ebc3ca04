"""Streamed answers: the first token, the end, and the many ways of never getting there."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Generator, Iterator

import pytest

from backchannel import Stream
from backchannel.events import Interaction, LlmCall
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot()


def script(bot: Bot, *gaps_us: int) -> Iterator[str]:
    """A stream with a token after each gap."""
    for number, gap_us in enumerate(gaps_us):
        bot.clock.advance(us=gap_us)
        yield f"t{number}"


async def async_script(bot: Bot, *gaps_us: int) -> AsyncGenerator[str]:
    for token in script(bot, *gaps_us):
        yield token


def test_the_first_token_is_timed_in_the_stream(bot: Bot) -> None:
    call = bot.producer.llm_call("m")
    assert list(call.stream(script(bot, 400, 50, 50))) == ["t0", "t1", "t2"]

    event = bot.only(LlmCall)
    assert (event.ttft_us, event.duration_us, event.status) == (400, 500, "ok")
    assert (event.streamed, event.output_tokens, event.usage_source) == (True, 0, "")


async def test_an_async_stream_just_the_same(bot: Bot) -> None:
    async with bot.producer.llm_call("m") as call:
        tokens = [token async for token in call.stream(async_script(bot, 400, 50))]

    event = bot.only(LlmCall)
    assert (tokens, event.ttft_us, event.duration_us) == (["t0", "t1"], 400, 450)


def test_a_reader_takes_the_usage_out_and_says_what_is_no_token(bot: Bot) -> None:
    call = bot.producer.llm_call("m")

    def read(item: str) -> bool:
        call.usage(output_tokens=len(item))
        return item != "t0"

    for _ in call.stream(script(bot, 10, 10), read=read):
        pass

    event = bot.only(LlmCall)
    assert (event.ttft_us, event.output_tokens) == (20, 2)


def test_a_reader_that_raises_costs_the_bot_nothing(bot: Bot) -> None:
    def read(item: str) -> None:
        raise ZeroDivisionError

    assert list(bot.producer.llm_call("m").stream(script(bot, 1), read=read)) == ["t0"]

    assert bot.only(LlmCall).status == "ok"
    assert bot.producer.stats().fields_repaired == 1


def test_a_stream_that_is_thrown_away_is_cancelled_with_what_was_seen(bot: Bot) -> None:
    stream: Stream[str] | None = bot.producer.llm_call("m").stream(script(bot, 1, 1, 1))
    assert stream is not None
    next(stream)
    next(stream)
    gc.disable()  # the moment it is let go, not at some later time
    try:
        stream = None
        event = bot.only(LlmCall)
    finally:
        gc.enable()

    assert (event.status, event.output_tokens, event.usage_source) == ("cancelled", 2, "estimate")


def test_a_stream_that_was_never_begun_is_cancelled(bot: Bot) -> None:
    bot.producer.llm_call("m").stream(script(bot, 1))

    event = bot.only(LlmCall)
    assert (event.status, event.output_tokens, event.usage_source) == ("cancelled", 0, "")


def test_leaving_a_stream_in_its_block_is_cancelled_too(bot: Bot) -> None:
    with bot.producer.llm_call("m") as call:
        for _ in call.stream(script(bot, 1, 1)):
            break

    assert bot.only(LlmCall).status == "cancelled"


def test_a_stream_that_fails_is_an_error_and_the_bot_sees_it(bot: Bot) -> None:
    def broken() -> Generator[str]:
        yield "t0"
        raise ConnectionResetError("cut")

    stream = bot.producer.llm_call("m").stream(broken())
    with pytest.raises(ConnectionResetError, match="cut"):
        list(stream)

    event = bot.only(LlmCall)
    assert (event.status, event.error_type) == ("error", "ConnectionResetError")
    assert (event.output_tokens, event.usage_source) == (1, "estimate")


async def test_an_async_stream_that_is_closed_closes_what_it_wraps(bot: Bot) -> None:
    closed = asyncio.Event()

    async def source() -> AsyncGenerator[str]:
        try:
            yield "t0"
            yield "t1"
        finally:
            closed.set()

    stream = bot.producer.llm_call("m").stream(source())
    await anext(stream)
    await stream.aclose()

    assert closed.is_set()
    assert bot.only(LlmCall).status == "cancelled"


async def test_a_reader_that_is_cancelled_cancels_its_call(bot: Bot) -> None:
    async def endless() -> AsyncGenerator[str]:
        yield "t0"
        await asyncio.sleep(60)

    async def read() -> None:
        async for _ in bot.producer.llm_call("m").stream(endless()):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert bot.only(LlmCall).status == "cancelled"


def test_a_turn_may_last_as_long_as_the_stream_of_its_answer(bot: Bot) -> None:
    turn = bot.producer.interaction(conversation_id="c")
    call = turn.llm_call("m")
    for _ in turn.stream(call.stream(script(bot, 5, 5))):
        pass

    found = bot.events()
    assert [type(event) for event in found] == [LlmCall, Interaction]
    assert {event.conversation_id for event in found} == {"c"}
    assert bot.all(Interaction)[0].duration_us == 10


def test_what_a_stream_wraps_is_still_there(bot: Bot) -> None:
    class Answer:
        response = "raw"

        def __iter__(self) -> Iterator[str]:
            return iter(["a"])

        def close(self) -> None:
            self.response = "closed"

    answer = Answer()
    with bot.producer.llm_call("m").stream(answer) as stream:
        assert stream.response == "raw"
    assert answer.response == "closed"
    assert bot.only(LlmCall).status == "cancelled"
