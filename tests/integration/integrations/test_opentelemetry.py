"""OpenTelemetry's own tracer: its spans become events, as an instrumented bot would make them."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer

from backchannel.events import (
    Component,
    Evaluation,
    Event,
    Interaction,
    LlmCall,
    Retrieval,
    ToolCall,
)
from backchannel.integrations import opentelemetry as processors
from backchannel.integrations.opentelemetry import BackchannelSpanProcessor
from support.bot import Bot

CHAT: Any = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 40,
}
AGENT: Any = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "support"}
SECOND = 1_000_000_000


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def processor(bot: Bot) -> BackchannelSpanProcessor:
    return BackchannelSpanProcessor(bot.producer)


@pytest.fixture
def tracer(processor: BackchannelSpanProcessor) -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    yield provider.get_tracer("test")
    provider.shutdown()


def has(event: Event, **fields: Any) -> bool:
    """Whether an event has these values; shows all of them where it has not."""
    found = {name: getattr(event, name) for name in fields}
    assert found == fields
    return True


def test_a_models_span_is_a_call_with_the_spans_ids_and_times(bot: Bot, tracer: Tracer) -> None:
    span = tracer.start_span("chat gpt-4o", attributes=CHAT, start_time=10 * SECOND)
    span.add_event("First Token Stream Event", timestamp=11 * SECOND)
    span.end(end_time=13 * SECOND)

    context = span.get_span_context()
    assert has(
        bot.only(LlmCall),
        provider="openai",
        request_model="gpt-4o",
        input_tokens=100,
        output_tokens=40,
        usage_source="provider",
        ts_us=13_000_000,
        duration_us=3_000_000,
        ttft_us=1_000_000,
        streamed=True,
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        status="ok",
    )


def test_the_outermost_agent_is_the_turn_with_its_calls_added_up(bot: Bot, tracer: Tracer) -> None:
    total = {**AGENT, "gen_ai.usage.input_tokens": 200, "gen_ai.conversation.id": "c-1"}
    with tracer.start_as_current_span("invoke_agent support", attributes=total) as agent:
        for _ in range(2):
            with tracer.start_as_current_span("POST", attributes={"http.request.method": "POST"}):
                tracer.start_span("chat", attributes=CHAT).end()

    first, second, turn = bot.events()
    assert isinstance(turn, Interaction)
    assert has(turn, endpoint="support", conversation_id="c-1", llm_calls=2, input_tokens=200)
    assert has(turn, span_id=f"{agent.get_span_context().span_id:016x}")
    for call in (first, second):
        assert has(call, parent_span_id=turn.span_id, trace_id=turn.trace_id, conversation_id="c-1")


def test_an_agent_whose_calls_nobody_traces_tells_its_own_tokens(bot: Bot, tracer: Tracer) -> None:
    total = {**AGENT, "gen_ai.usage.input_tokens": 200}
    tracer.start_span("invoke_agent", attributes=total).end()

    assert has(bot.only(Interaction), input_tokens=200, usage_source="provider")


def test_a_turn_of_the_bots_own_stays_the_only_one(bot: Bot, tracer: Tracer) -> None:
    with (
        bot.producer.interaction(conversation_id="c-1"),
        tracer.start_as_current_span("invoke_agent", attributes=AGENT),
    ):
        tracer.start_span("chat", attributes=CHAT).end()

    call, turn = bot.events()
    assert isinstance(turn, Interaction)
    assert has(turn, llm_calls=1, input_tokens=100)
    assert has(call, conversation_id="c-1", trace_id=turn.trace_id, parent_span_id=turn.span_id)


def test_tools_and_searches_are_told_and_nest(bot: Bot, tracer: Tracer) -> None:
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
    search = {"openinference.span.kind": "RETRIEVER", "retrieval.documents.0.document.id": "d1"}
    with tracer.start_as_current_span("agent", attributes=AGENT):
        with tracer.start_as_current_span("execute_tool refund", attributes=tool):
            tracer.start_span("chat", attributes=CHAT).end()
        tracer.start_span("search", attributes=search).end()

    call, used, found, turn = bot.events()
    assert isinstance(used, ToolCall)
    assert isinstance(found, Retrieval)
    assert has(used, tool_name="refund", parent_span_id=turn.span_id)
    assert has(call, parent_span_id=used.span_id)
    assert [document.id for document in found.documents] == ["d1"]


def test_a_models_span_inside_a_models_span_counts_once(
    bot: Bot, tracer: Tracer, processor: BackchannelSpanProcessor
) -> None:
    with tracer.start_as_current_span("ChatOpenAI", attributes=CHAT):
        tracer.start_span("openai.chat", attributes=CHAT).end()

    assert has(bot.only(LlmCall), input_tokens=100)
    assert processor.nested_calls == 1


def test_a_failed_span_is_an_error_without_its_message(bot: Bot, tracer: Tracer) -> None:
    with (
        pytest.raises(TimeoutError, match="canary"),
        tracer.start_as_current_span("chat", attributes=CHAT),
    ):
        raise TimeoutError("canary: sk-secret")

    call = bot.only(LlmCall)
    assert has(call, status="timeout", error_type="TimeoutError", error_message="")
    assert "canary" not in call.model_dump_json()


def test_a_span_whose_error_type_is_a_status_code_tells_it(bot: Bot, tracer: Tracer) -> None:
    span = tracer.start_span("chat", attributes={**CHAT, "error.type": "429"})
    span.set_status(Status(StatusCode.ERROR))
    span.end()

    assert has(bot.only(LlmCall), status="rate_limited", http_status=429)


def test_what_a_span_says_only_at_its_end_is_heard(bot: Bot, tracer: Tracer) -> None:
    span = tracer.start_span("late")
    for name, value in CHAT.items():
        span.set_attribute(name, value)
    span.end()

    assert has(bot.only(LlmCall), input_tokens=100)


def test_steps_are_parts_of_the_turn_or_events_where_there_is_none(
    bot: Bot, tracer: Tracer
) -> None:
    guard = {"openinference.span.kind": "GUARDRAIL"}
    with tracer.start_as_current_span("agent", attributes=AGENT):
        tracer.start_span("toxicity", attributes=guard).end()
    tracer.start_span("toxicity", attributes=guard).end()

    turn, step = bot.events()
    assert isinstance(turn, Interaction)
    assert isinstance(step, Component)
    assert (list(turn.components), step.name) == (["toxicity"], "toxicity")


def test_scores_inside_a_span_point_at_its_event(bot: Bot, tracer: Tracer) -> None:
    span = tracer.start_span("chat", attributes=CHAT)
    score: Any = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.8}
    span.add_event("gen_ai.evaluation.result", score)
    span.end()

    judged, call = bot.events()
    assert isinstance(judged, Evaluation)
    assert has(judged, target_event_id=call.event_id, name="relevance", value=800_000)


def test_spans_of_other_things_are_no_events_and_other_processors_get_every_span(
    bot: Bot, processor: BackchannelSpanProcessor
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("test").start_as_current_span("GET /"):
        pass

    assert provider.force_flush()
    assert [span.name for span in exporter.get_finished_spans()] == ["GET /"]
    assert bot.events() == []
    provider.shutdown()


def test_no_word_of_prompt_or_answer_is_in_an_event(bot: Bot, tracer: Tracer) -> None:
    words: Any = {
        **CHAT,
        "gen_ai.input.messages": "canary",
        "gen_ai.completion.0.content": "canary",
        "llm.input_messages.0.message.content": "canary",
        "input.value": "canary",
    }
    tracer.start_span("chat", attributes=words).end()

    assert "canary" not in bot.only(LlmCall).model_dump_json()


def test_spans_that_never_end_are_bounded_and_counted(
    tracer: Tracer, processor: BackchannelSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "_OPEN_MAX", 3)
    spans = [tracer.start_span("lost", attributes=CHAT) for _ in range(5)]

    assert len(processor._open) == 3
    assert processor.forgotten == 2
    for span in spans:
        span.end()
    assert processor.failures == 0
