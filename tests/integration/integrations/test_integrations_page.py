"""The snippets of docs/integrations.md run as they stand, against a server on this machine.

That for litellm runs beside litellm's other tests, which clean up behind it.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from backchannel.events import Interaction
from support.bot import Bot
from support.model_server import REPLY, ModelServer

PAGE = (Path(__file__).parents[3] / "docs/integrations.md").read_text("utf-8")


@pytest.fixture
def bot(model_server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> Bot:
    """A bot whose clients find the server here in the environment."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{model_server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", model_server.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    bot = Bot()
    bot.producer.start()
    return bot


def run(mark: str, bot: Bot, **names: Any) -> dict[str, Any]:
    """Runs a snippet of the page."""
    [snippet] = re.findall(rf"<!-- run: {mark} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    names["producer"] = bot.producer
    exec(snippet, names)
    return names


def turn_of(bot: Bot, conversation_id: str = "c-17") -> Interaction:
    turn = bot.only(Interaction)
    assert turn.conversation_id == conversation_id
    return turn


def test_the_snippet_for_openai(bot: Bot) -> None:
    names = run("openai", bot)

    assert names["answer"].choices[0].message.content == REPLY
    names["client"].close()
    assert turn_of(bot).input_tokens == 100


async def test_the_snippet_for_anthropic(bot: Bot) -> None:
    names = run("anthropic", bot)

    assert await names["answer"]("How long?") == REPLY
    await names["client"].close()
    assert turn_of(bot).input_tokens == 100


def test_the_snippet_for_langchain(bot: Bot) -> None:
    names = run("langchain", bot, model=FakeListChatModel(responses=[REPLY]))

    assert names["reply"] == REPLY
    turn = turn_of(bot)
    assert (turn.endpoint, turn.user_id, turn.llm_calls) == ("support", "u-4", 1)


def test_the_snippet_for_opentelemetry(bot: Bot) -> None:
    names = run("opentelemetry", bot, model=FakeListChatModel(responses=[REPLY]))
    names["provider"].shutdown()

    assert bot.only(Interaction).endpoint == "support"


def test_every_snippet_of_the_page_is_run() -> None:
    marks = re.findall(r"<!-- run: (\w+) -->", PAGE)

    assert marks == ["openai", "anthropic", "langchain", "litellm", "opentelemetry"]
    assert PAGE.count("```python") == len(marks)
