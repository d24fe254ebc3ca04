"""The examples of docs/api.md run as they stand, and do what the page says."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backchannel.events import (
    ErrorEvent,
    Evaluation,
    Exposure,
    Feedback,
    Interaction,
    LlmCall,
    Product,
    Retrieval,
    ToolCall,
)
from support.bot import Bot

PAGE = (Path(__file__).parents[3] / "docs/api.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"<!-- run: ([\w ]+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


@dataclass
class Usage:
    input: int = 9
    output: int = 2


@dataclass
class Reply:
    text: str = "hello"
    input_tokens: int = 374
    output_tokens: int = 44
    id: str = "page"
    score: float = 0.5
    usage: Usage | None = field(default=None)


@pytest.fixture
def bot() -> Bot:
    return Bot(prices={"gpt-4o-mini": {"input": 0.15, "output": 0.6}})


def run(name: str, bot: Bot, **names: Any) -> dict[str, Any]:
    names |= {"producer": bot.producer}
    exec(compile(BLOCKS[name], f"docs/api.md: {name}", "exec"), names)
    return names


async def test_a_turn(bot: Bot, capsys: pytest.CaptureFixture[str]) -> None:
    async def some(*_: Any) -> list[Reply]:
        return [Reply()]

    async def one(*_: Any) -> Reply:
        return Reply()

    page = run("turn", bot, embed=some, look_up=some, ask_model=one)
    assert await page["answer"](bot.producer, "why?") == "hello"

    assert capsys.readouterr().out == "cost: 0.0000825\n"
    search, call, turn = bot.events()
    assert isinstance(search, Retrieval)
    assert isinstance(call, LlmCall)
    assert isinstance(turn, Interaction)
    assert (search.documents[0].id, search.documents[0].score) == ("page", 500_000)
    assert (turn.input_tokens, turn.llm_calls, turn.cost_picousd) == (374, 1, 82_500_000)
    assert set(turn.components) == {"rag_retrieval", "llm_generation"}


def test_by_hand(bot: Bot) -> None:
    run("by hand", bot)

    call, turn = bot.events()
    assert isinstance(turn, Interaction)
    assert (turn.status, turn.input_tokens) == ("blocked", 12)
    assert call.parent_span_id == turn.span_id


async def test_a_stream(bot: Bot) -> None:
    async def chunks(_: str) -> AsyncIterator[Reply]:
        yield Reply(text="a")
        yield Reply(text="", usage=Usage())

    page = run("stream", bot, ask_model_streaming=chunks)
    assert [text async for text in page["stream_answer"](bot.producer, "why?")] == ["a", ""]

    call = bot.only(LlmCall)
    assert (call.input_tokens, call.output_tokens, call.streamed) == (9, 2, True)


async def test_functions(bot: Bot) -> None:
    page = run("observe", bot)
    assert [word async for word in page["chat"]("why?")] == ["On ", "its way."]

    tool, turn = bot.events()
    assert isinstance(tool, ToolCall)
    assert isinstance(turn, Interaction)
    assert (tool.tool_name, turn.endpoint, turn.streamed) == ("look_up_order", "/chat", True)


def test_fields_for_everything_inside(bot: Bot) -> None:
    run("context", bot)

    first, second = bot.all(Product)
    assert (first.user_id, first.channel, first.properties) == ("u-4", "web", {"plan": "pro"})
    assert second.tenant_id == "acme"


def test_conversations(bot: Bot, capsys: pytest.CaptureFixture[str]) -> None:
    run("conversation", bot)

    assert capsys.readouterr().out == "2 600 0.000138\n"
    assert [turn.turn for turn in bot.all(Interaction)] == [1, 2]


def test_instants(bot: Bot) -> None:
    run("instants", bot)

    assert bot.all(Evaluation)[0].value == 870_000
    assert bot.all(Exposure)[0].variant == bot.all(Interaction)[0].variant != ""
    assert bot.all(Feedback)[0].target_event_id == bot.all(Interaction)[0].event_id
    assert [e.exception_type for e in bot.all(ErrorEvent)] == ["", "ZeroDivisionError"]
    assert bot.all(Interaction)[1].duration_us == 900_000
    assert bot.producer.stats().fields_repaired == 0


def test_own_prices(bot: Bot) -> None:
    run("prices", bot)


def test_bots_without_an_event_loop(bot: Bot) -> None:
    run("sync", bot)


async def test_how_the_process_is(bot: Bot) -> None:
    run("health", bot)

    found = await bot.producer.health()

    assert found["queues"]["celery"] == 0
    assert found["gauges"] == {"index_age_days": 1_500_000}


def test_every_example_of_the_page_is_run() -> None:
    ran = {"turn", "by hand", "stream", "observe", "context", "conversation", "instants", "prices"}

    assert set(BLOCKS) == ran | {"health", "sync"}
    assert PAGE.count("```python") == len(BLOCKS)
