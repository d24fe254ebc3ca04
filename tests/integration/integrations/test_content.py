"""With ``capture_content`` on, prompts and answers go to ``chat.content`` and nowhere else."""

from typing import Any

import pytest
from anthropic import Anthropic
from langchain_core.language_models import FakeListChatModel
from openai import OpenAI

from backchannel import MemoryTransport, Producer
from backchannel.events import Content
from backchannel.integrations.anthropic import wrap as wrap_anthropic
from backchannel.integrations.langchain import LangChainHandler
from backchannel.integrations.openai import wrap
from support.model_server import REPLY, ModelServer

QUESTION: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "How long, jane@example.com?"}]},
]
KEPT = [("prompt", "Be brief.\nHow long, [email]?"), ("reply", REPLY)]


class Bench:
    """A producer that captures content, and what arrived on both topics."""

    def __init__(self) -> None:
        self.events = MemoryTransport()
        self.content = MemoryTransport()
        self.producer = Producer(
            transport=self.events, content_transport=self.content, capture_content=True
        )

    def kept(self) -> list[tuple[str, str]]:
        """Parts and texts; checks that they are tied to the one event, and not in it."""
        assert self.producer.close_sync() == 0
        (event,) = self.events.events()
        assert "days" not in event.model_dump_json()
        records = [record for records in self.content.records for record in records]
        lines = [line for record in records for line in record.value.split(b"\n")]
        texts = [Content.model_validate_json(line) for line in lines]
        assert {text.event_id for text in texts} == {event.event_id}
        return [(text.part, text.text) for text in texts]


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("stream", [False, True])
def test_of_openais_chat(bench: Bench, model_server: ModelServer, stream: bool) -> None:
    with OpenAI(base_url=f"{model_server.url}/v1", api_key="k") as client:
        answer: Any = wrap(client, bench.producer).chat.completions.create(
            model="plain", messages=QUESTION, stream=stream
        )
        if stream:
            list(answer)

    assert bench.kept() == KEPT


def test_of_openais_responses(bench: Bench, model_server: ModelServer) -> None:
    with OpenAI(base_url=f"{model_server.url}/v1", api_key="k") as client:
        list(
            wrap(client, bench.producer).responses.create(
                model="plain", instructions="Be brief.", input="How long?", stream=True
            )
        )

    kept = dict(bench.kept())
    assert sorted(kept["prompt"].split("\n")) == ["Be brief.", "How long?"]
    assert kept["reply"] == REPLY


@pytest.mark.parametrize("stream", [False, True])
def test_of_anthropics_messages(bench: Bench, model_server: ModelServer, stream: bool) -> None:
    with Anthropic(base_url=model_server.url, api_key="k") as client:
        answer: Any = wrap_anthropic(client, bench.producer).messages.create(
            model="plain", max_tokens=9, messages=QUESTION[1:], stream=stream
        )
        if stream:
            list(answer)

    assert bench.kept() == [("prompt", "How long, [email]?"), ("reply", REPLY)]


def test_of_langchains_models(bench: Bench) -> None:
    model = FakeListChatModel(responses=[REPLY])
    model.invoke("How long?", {"callbacks": [LangChainHandler(bench.producer)]})

    assert bench.kept() == [("prompt", "How long?"), ("reply", REPLY)]
