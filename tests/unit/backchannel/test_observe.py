"""Observed functions: what they were they stay, and each call is a span."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Generator

import pytest

from backchannel import current_turn
from backchannel.events import Component, Interaction, LlmCall, Retrieval, ToolCall
from support.bot import Bot


@pytest.fixture
def bot() -> Bot:
    return Bot()


def test_a_function_stays_what_it_was(bot: Bot) -> None:
    observe = bot.producer.observe

    def plain(a: int, *, b: str = "") -> str:
        """Says so."""
        return f"{a}{b}"

    async def coroutine() -> None: ...
    def generator() -> Generator[int]:
        yield 1

    async def async_generator() -> AsyncGenerator[int]:
        yield 1

    wrapped = observe(plain)
    assert (wrapped.__name__, wrapped.__doc__) == ("plain", "Says so.")
    assert inspect.signature(wrapped) == inspect.signature(plain)
    assert wrapped(1, b="x") == "1x"
    assert inspect.iscoroutinefunction(observe(coroutine))
    assert inspect.isgeneratorfunction(observe(generator))
    assert inspect.isasyncgenfunction(observe(async_generator))


def test_each_kind_becomes_its_event(bot: Bot) -> None:
    observe = bot.producer.observe

    @observe(kind="interaction", name="/chat")
    def chat() -> None:
        llm()
        tool()
        retrieval()
        part()

    @observe(kind="llm_call", model="gpt-4o", provider="openai")
    def llm() -> None: ...
    @observe(kind="tool")
    def tool() -> None: ...
    @observe(kind="retrieval", name="wiki")
    def retrieval() -> None: ...
    @observe
    def part() -> None:
        bot.clock.advance(us=3)

    chat()
    part()

    call, tool_call, search, turn, component = bot.events()
    assert isinstance(call, LlmCall)
    assert isinstance(tool_call, ToolCall)
    assert isinstance(search, Retrieval)
    assert isinstance(turn, Interaction)
    assert isinstance(component, Component)
    assert (call.request_model, tool_call.tool_name) == ("gpt-4o", "tool")
    assert (search.data_source_id, turn.endpoint) == ("wiki", "/chat")
    assert (component.name, turn.components["part"]) == ("part", 3)
    assert call.trace_id == tool_call.trace_id == turn.trace_id != ""


async def test_a_coroutine_that_fails_is_noted_and_fails(bot: Bot) -> None:
    @bot.producer.observe(kind="tool")
    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("secret")

    with pytest.raises(KeyError):
        await fails()

    event = bot.only(ToolCall)
    assert (event.status, event.error_type, event.error_message) == ("error", "KeyError", "")


def test_a_generator_is_current_in_its_body_and_not_outside(bot: Bot) -> None:
    @bot.producer.observe(kind="interaction")
    def answer() -> Generator[str, int, str]:
        assert current_turn() is not None
        got = yield "a"
        with bot.producer.tool_call(str(got)):
            yield "b"
        return "done"

    stream = answer()
    assert next(stream) == "a"
    assert current_turn() is None
    assert stream.send(7) == "b"
    assert current_turn() is None
    with pytest.raises(StopIteration, match="done"):
        next(stream)

    tool, turn = bot.events()
    assert isinstance(tool, ToolCall)
    assert isinstance(turn, Interaction)
    assert (tool.tool_name, tool.trace_id) == ("7", turn.trace_id)
    assert (turn.streamed, turn.status) == (True, "ok")


async def test_an_async_generator_too(bot: Bot) -> None:
    @bot.producer.observe(kind="interaction")
    async def answer() -> AsyncGenerator[str, int]:
        got = yield "a"
        async with bot.producer.tool_call(str(got)):
            await asyncio.sleep(0)
            assert current_turn() is not None
        yield "b"

    stream = answer()
    assert await anext(stream) == "a"
    assert current_turn() is None
    assert await stream.asend(7) == "b"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)

    tool, turn = bot.events()
    assert isinstance(tool, ToolCall)
    assert isinstance(turn, Interaction)
    assert (tool.tool_name, tool.trace_id, turn.status) == ("7", turn.trace_id, "ok")


def test_a_generator_may_deal_with_what_is_thrown_into_it(bot: Bot) -> None:
    @bot.producer.observe(kind="llm_call")
    def answer() -> Generator[str]:
        try:
            yield "a"
        except ValueError:
            yield "b"

    stream = answer()
    next(stream)
    assert stream.throw(ValueError()) == "b"
    assert list(stream) == []

    assert bot.only(LlmCall).status == "ok"


def test_a_generator_that_is_left_is_cancelled_and_cleans_up(bot: Bot) -> None:
    cleaned = []

    @bot.producer.observe(kind="llm_call")
    def answer() -> Generator[str]:
        try:
            yield "a"
        finally:
            cleaned.append(True)

    for _ in answer():
        break

    assert cleaned == [True]
    assert bot.only(LlmCall).status == "cancelled"


async def test_an_async_generator_whose_steps_run_in_several_tasks(bot: Bot) -> None:
    @bot.producer.observe(kind="llm_call")
    async def answer() -> AsyncGenerator[str]:
        for token in "abc":
            await asyncio.sleep(0)
            yield token

    stream = answer()
    got = [await asyncio.create_task(_next(stream)) for _ in range(2)]
    del stream  # the loop closes it, in a task of its own
    await asyncio.sleep(0.01)

    assert got == ["a", "b"]
    assert bot.only(LlmCall).status == "cancelled"


async def _next(stream: AsyncGenerator[str]) -> str:
    return await anext(stream)


def test_a_generator_that_fails_is_an_error(bot: Bot) -> None:
    @bot.producer.observe(kind="tool")
    def answer() -> Generator[str]:
        yield "a"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(answer())

    assert bot.only(ToolCall).error_type == "OSError"
