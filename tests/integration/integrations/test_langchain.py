"""LangChain's own runnables: what its callbacks tell becomes turns, calls, tools and searches."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel, FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import tool

from backchannel.events import Event, Interaction, LlmCall, Retrieval, ToolCall
from backchannel.integrations import langchain
from backchannel.integrations.langchain import LangChainHandler, langchain_usage
from support.bot import Bot

REPLY = "Refunds take five days."
USAGE: Any = {
    "input_tokens": 100,
    "output_tokens": 40,
    "total_tokens": 140,
    "input_token_details": {"cache_read": 64},
    "output_token_details": {"reasoning": 24},
}


class Model(BaseChatModel):
    """A chat model of the kind that a provider's package has: it streams, counts, and fails."""

    error: Any = None
    counts: bool = True

    @property
    def _llm_type(self) -> str:
        return "test"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "azure_openai", "ls_model_name": "gpt-4o", "ls_temperature": 0.5}

    def _told(self) -> dict[str, Any]:
        return {"model_name": "gpt-4o-2024", "finish_reason": "stop", "id": "resp-1"}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.error is not None:
            raise self.error
        usage = USAGE if self.counts else None
        message = AIMessage(REPLY, usage_metadata=usage, response_metadata=self._told())
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content=""))
        for word in REPLY.split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        if self.error is not None:
            raise self.error
        last = AIMessageChunk(content="", usage_metadata=USAGE, response_metadata=self._told())
        yield ChatGenerationChunk(message=last)


class Index(BaseRetriever):
    """A retriever that finds two documents."""

    fails: bool = False

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        if self.fails:
            raise ConnectionError("canary: index away")
        return [
            Document("canary text", id="d1", metadata={"score": 0.75}),
            Document("canary text", metadata={"source": "faq.md"}),
        ]


@tool
def refund(order: str) -> str:
    """Refunds an order."""
    if order == "bad":
        raise ValueError("canary: no such order")
    return "done"


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def handler(bot: Bot) -> LangChainHandler:
    return LangChainHandler(bot.producer)


def config(handler: LangChainHandler, **metadata: Any) -> RunnableConfig:
    return {"callbacks": [handler], "metadata": metadata}


def has(event: Event, **fields: Any) -> bool:
    """Whether an event has these values; shows all of them where it has not."""
    found = {name: getattr(event, name) for name in fields}
    assert found == fields
    return True


PROMPT = ChatPromptTemplate.from_messages([("user", "{question}")])
COUNTED = {
    "input_tokens": 100,
    "output_tokens": 40,
    "cache_read_tokens": 64,
    "reasoning_tokens": 24,
    "usage_source": "provider",
}


def test_a_model_alone_is_one_call_and_no_turn(bot: Bot, handler: LangChainHandler) -> None:
    assert Model().invoke("canary?", config(handler, user_id="u-1")).content == REPLY

    (call,) = bot.events()
    assert isinstance(call, LlmCall)
    assert has(
        call,
        **COUNTED,
        operation="chat",
        provider="azure",
        request_model="gpt-4o",
        response_model="gpt-4o-2024",
        response_id="resp-1",
        finish_reasons=("stop",),
        temperature=500_000,
        user_id="u-1",
        status="ok",
        streamed=False,
    )
    assert "canary" not in call.model_dump_json()


def test_the_outermost_chain_is_the_turn_and_its_call_belongs_to_it(
    bot: Bot, handler: LangChainHandler
) -> None:
    chain = (PROMPT | Model() | StrOutputParser()).with_config(run_name="support")
    chain.invoke({"question": "canary?"}, config(handler, thread_id="t-1", session_id="s-1"))

    call, turn = bot.events()
    assert isinstance(call, LlmCall)
    assert isinstance(turn, Interaction)
    assert has(turn, endpoint="support", conversation_id="t-1", session_id="s-1", status="ok")
    assert has(turn, input_tokens=100, llm_calls=1, model="gpt-4o-2024", provider="azure")
    assert has(call, conversation_id="t-1", trace_id=turn.trace_id, parent_span_id=turn.span_id)


def test_a_turn_of_the_bots_own_stays_the_only_one(bot: Bot, handler: LangChainHandler) -> None:
    with bot.producer.interaction(conversation_id="c-1"):
        (PROMPT | Model()).invoke({"question": "?"}, config(handler))

    call, turn = bot.events()
    assert has(call, conversation_id="c-1", parent_span_id=turn.span_id)
    assert isinstance(turn, Interaction)
    assert turn.llm_calls == 1


def test_turns_may_be_left_to_the_bot(bot: Bot) -> None:
    (PROMPT | Model()).invoke(
        {"question": "?"}, config(LangChainHandler(bot.producer, turns=False))
    )

    assert [type(event) for event in bot.events()] == [LlmCall]


async def test_asynchronous_chains_are_told_just_the_same(
    bot: Bot, handler: LangChainHandler
) -> None:
    chain = PROMPT | Model() | StrOutputParser()
    await asyncio.gather(
        *(chain.ainvoke({"question": "?"}, config(handler, thread_id=f"t-{n}")) for n in range(5))
    )

    turns = [event for event in bot.events() if isinstance(event, Interaction)]
    assert {turn.conversation_id for turn in turns} == {f"t-{n}" for n in range(5)}
    assert all(turn.llm_calls == 1 and turn.input_tokens == 100 for turn in turns)


def test_a_streams_first_token_is_its_first_word(bot: Bot, handler: LangChainHandler) -> None:
    stream = Model().stream("?", config(handler))
    next(stream)  # empty: only says that the assistant speaks
    bot.clock.advance(seconds=2)
    next(stream)
    bot.clock.advance(seconds=1)
    list(stream)

    call = bot.only(LlmCall)
    assert has(call, **COUNTED, streamed=True, ttft_us=2_000_000, duration_us=3_000_000)


async def test_an_asynchronous_stream_through_a_chain_is_one_turn(
    bot: Bot, handler: LangChainHandler
) -> None:
    words = [word async for word in (PROMPT | Model()).astream({"question": "?"}, config(handler))]

    assert len(words) > 3
    call, turn = bot.events()
    assert has(call, streamed=True, **COUNTED)
    assert isinstance(turn, Interaction)
    assert has(turn, streamed=True, input_tokens=100)


def test_a_stream_that_is_left_is_cancelled_with_what_came(
    bot: Bot, handler: LangChainHandler
) -> None:
    stream: Any = (PROMPT | Model()).stream({"question": "x" * 40}, config(handler))
    for _ in range(3):
        next(stream)
    stream.close()

    call, turn = bot.events()
    assert has(call, status="cancelled", input_tokens=10, usage_source="estimate")
    assert isinstance(turn, Interaction)
    assert has(turn, status="cancelled", llm_calls=1, input_tokens=10)


def test_an_error_in_the_middle_of_a_stream_keeps_what_came(
    bot: Bot, handler: LangChainHandler
) -> None:
    with pytest.raises(ConnectionResetError):
        list(Model(error=ConnectionResetError("canary")).stream("?", config(handler)))

    call = bot.only(LlmCall)
    assert has(call, status="error", error_type="ConnectionResetError", usage_source="estimate")
    assert call.output_tokens > 0


class RateLimitError(Exception):
    status_code = 429


def test_a_failing_model_fails_its_turn_and_passes_its_exception_on(
    bot: Bot, handler: LangChainHandler
) -> None:
    chain = PROMPT | Model(error=RateLimitError("canary: sk-secret"))
    with pytest.raises(RateLimitError, match="canary"):
        chain.invoke({"question": "?"}, config(handler))

    for event in bot.events():
        assert has(event, status="rate_limited", error_type="RateLimitError")
        assert "canary" not in event.model_dump_json()


def test_retrievers_and_tools_are_told_with_the_span_around_them(
    bot: Bot, handler: LangChainHandler
) -> None:
    chain = {"found": Index(), "question": RunnablePassthrough()} | RunnableLambda(
        lambda given: refund.invoke({"order": "A7"})
    )
    assert chain.invoke("canary?", config(handler)) == "done"

    search, used, turn = bot.events()
    assert isinstance(search, Retrieval)
    assert isinstance(used, ToolCall)
    assert has(search, data_source_id="Index", parent_span_id=turn.span_id, status="ok")
    assert [(found.id, found.score) for found in search.documents] == [
        ("d1", 750_000),
        ("faq.md", None),
    ]
    assert has(used, tool_name="refund", parent_span_id=turn.span_id, status="ok")
    assert "canary" not in search.model_dump_json()


def test_what_runs_inside_a_tool_names_the_tool_as_its_parent(
    bot: Bot, handler: LangChainHandler
) -> None:
    @tool
    def ask(question: str) -> str:
        """Asks another model."""
        return str(Model().invoke(question).content)

    RunnableLambda(lambda _: ask.invoke({"question": "?"})).invoke("go", config(handler))

    call, used, turn = bot.events()
    assert has(call, parent_span_id=used.span_id)
    assert has(used, parent_span_id=turn.span_id)
    assert isinstance(turn, Interaction)
    assert set(turn.components) == {"tool"}  # the model's time is the tool's: none counts twice


def test_failing_tools_and_retrievers_are_errors_without_their_message(
    bot: Bot, handler: LangChainHandler
) -> None:
    with pytest.raises(ValueError, match="canary"):
        refund.invoke({"order": "bad"}, config(handler))
    with pytest.raises(ConnectionError, match="canary"):
        Index(fails=True).invoke("?", config(handler))

    used, search = bot.events()
    assert has(used, status="error", error_type="ValueError", error_message="")
    assert has(search, status="error", error_type="ConnectionError", error_message="")


def test_a_model_that_does_not_count_is_estimated(bot: Bot, handler: LangChainHandler) -> None:
    Model(counts=False).invoke("x" * 40, config(handler))

    assert has(bot.only(LlmCall), input_tokens=10, output_tokens=6, usage_source="estimate")


def test_a_completion_is_a_call_too(bot: Bot, handler: LangChainHandler) -> None:
    FakeListLLM(responses=[REPLY]).invoke("How long?", config(handler))

    assert has(bot.only(LlmCall), operation="text_completion", status="ok")


def test_a_batch_is_as_many_turns_side_by_side(bot: Bot, handler: LangChainHandler) -> None:
    (PROMPT | Model()).batch([{"question": "?"}] * 4, config(handler))

    events = bot.events()
    turns = [event for event in events if isinstance(event, Interaction)]
    calls = [event for event in events if isinstance(event, LlmCall)]
    assert len(turns) == 4
    assert {call.parent_span_id for call in calls} == {turn.span_id for turn in turns}


def test_runs_that_never_end_are_bounded_and_counted(
    bot: Bot, handler: LangChainHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(langchain, "_RUNS_MAX", 3)
    for _ in range(5):
        handler.on_tool_start({"name": "lost"}, "", run_id=uuid4())

    assert handler.forgotten == 2
    assert [has(event, status="cancelled") for event in bot.events()] == [True, True]


def test_callbacks_about_runs_that_nobody_knows_do_nothing(
    bot: Bot, handler: LangChainHandler
) -> None:
    handler.on_llm_new_token("x", run_id=uuid4())
    handler.on_llm_end(None, run_id=uuid4())
    handler.on_chain_error(ValueError(), run_id=uuid4())
    handler.on_retriever_end(None, run_id=uuid4())

    assert bot.events() == []


def test_langchains_totals_are_inclusive_as_ours_are() -> None:
    usage = {
        "input_tokens": 350,
        "output_tokens": 240,
        "total_tokens": 590,
        "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
        "output_token_details": {"audio": 11, "reasoning": 200},
    }

    assert langchain_usage(usage) == {
        "input_tokens": 350,
        "output_tokens": 240,
        "cache_read_tokens": 100,
        "cache_write_tokens": 200,
        "reasoning_tokens": 200,
        "input_audio_tokens": 10,
        "output_audio_tokens": 11,
    }
