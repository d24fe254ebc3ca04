"""The dialects of spans, each as its instrumentation writes it, become the same fields."""

from typing import Any

import pytest

from backchannel.events import Interaction, LlmCall, Retrieval, ToolCall
from backchannel.integrations.otel_attributes import (
    ALIASES,
    call_fields,
    envelope_fields,
    error_fields,
    evaluation,
    role,
    search_fields,
    tool_fields,
    usage_fields,
)

CALLS: dict[str, dict[str, Any]] = {
    "OpenTelemetry 1.36": {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.id": "r-1",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.openai.response.service_tier": "default",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 40,
        "gen_ai.usage.cache_read_input_tokens": 64,
        "gen_ai.usage.reasoning_tokens": 24,
        "server.address": "api.openai.com",
    },
    "OpenTelemetry 1.41": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.id": "r-1",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.response.finish_reasons": ["stop"],
        "openai.response.service_tier": "default",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.cache_read.input_tokens": 64,
        "gen_ai.usage.reasoning.output_tokens": 24,
        "server.address": "api.openai.com",
    },
    "OpenInference": {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.provider": "openai",
        "llm.model_name": "gpt-4o",
        "llm.response.model": "gpt-4o-2024",
        "gen_ai.response.id": "r-1",
        "llm.invocation_parameters": '{"temperature": 0.5, "max_tokens": 99}',
        "llm.finish_reason": "stop",
        "openai.response.service_tier": "default",
        "llm.token_count.prompt": 100,
        "llm.token_count.completion": 40,
        "llm.token_count.prompt_details.cache_read": 64,
        "llm.token_count.completion_details.reasoning": 24,
        "server.address": "api.openai.com",
        "llm.input_messages.0.message.content": "canary",
    },
    "OpenLLMetry": {
        "llm.request.type": "chat",
        "gen_ai.system": "OpenAI",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.id": "r-1",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 99,
        "gen_ai.completion.0.finish_reason": "stop",
        "gen_ai.completion.0.content": "canary",
        "gen_ai.openai.response.service_tier": "default",
        "gen_ai.usage.prompt_tokens": 100,
        "gen_ai.usage.completion_tokens": 40,
        "gen_ai.usage.cache_read_input_tokens": 64,
        "llm.usage.reasoning_tokens": 24,
        "server.address": "api.openai.com",
    },
}


@pytest.mark.parametrize("attributes", CALLS.values(), ids=CALLS)
def test_a_call_is_the_same_in_every_dialect(attributes: dict[str, Any]) -> None:
    assert role(attributes) == "call"
    assert call_fields(attributes) == {
        "operation": "chat",
        "provider": "openai",
        "request_model": "gpt-4o",
        "response_model": "gpt-4o-2024",
        "response_id": "r-1",
        "temperature": 500_000,
        "max_tokens": 99,
        "finish_reasons": ("stop",),
        "service_tier": "default",
        "server_address": "api.openai.com",
    }
    assert usage_fields(attributes) == {
        "input_tokens": 100,
        "output_tokens": 40,
        "cache_read_tokens": 64,
        "reasoning_tokens": 24,
        "usage_source": "provider",
    }


def test_every_alias_is_of_a_field_that_an_event_has() -> None:
    known = {
        *LlmCall.model_fields,
        *Interaction.model_fields,
        *Retrieval.model_fields,
        *ToolCall.model_fields,
        *("input_cost", "output_cost", "cost", "ttft_s", "name"),  # in other units, or a name
    }

    assert ALIASES.keys() <= known


def test_the_newer_name_wins() -> None:
    both = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.prompt_tokens": 5}

    assert usage_fields(both)["input_tokens"] == 7


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.operation.name": "embeddings"}, "call"),
        ({"gen_ai.operation.name": "execute_tool"}, "tool"),
        ({"gen_ai.operation.name": "retrieval"}, "search"),
        ({"gen_ai.operation.name": "invoke_agent"}, "agent"),
        ({"openinference.span.kind": "EMBEDDING"}, "call"),
        ({"openinference.span.kind": "RETRIEVER"}, "search"),
        ({"openinference.span.kind": "CHAIN"}, "agent"),
        ({"openinference.span.kind": "GUARDRAIL"}, "step"),
        ({"traceloop.span.kind": "tool"}, "tool"),
        ({"traceloop.span.kind": "workflow"}, "agent"),
        ({"gen_ai.system": "openai", "gen_ai.request.model": "m"}, "call"),
        ({"http.request.method": "GET"}, ""),
        ({"openinference.span.kind": ["LLM"]}, ""),
        ({}, ""),
    ],
)
def test_a_span_has_a_role_or_is_of_something_else(
    attributes: dict[str, Any], expected: str
) -> None:
    assert role(attributes) == expected


def test_what_a_cache_wrote_has_three_names() -> None:
    for name in ("cache_write.", "cache_creation.", "cache_creation_"):
        attributes = {f"gen_ai.usage.{name}input_tokens": 5, "gen_ai.usage.input_tokens": 9}
        assert usage_fields(attributes)["cache_write_tokens"] == 5


def test_a_cache_that_is_more_than_the_input_was_counted_apart_and_is_added() -> None:
    attributes = {"gen_ai.usage.input_tokens": 30, "gen_ai.usage.cache_read.input_tokens": 60}

    assert usage_fields(attributes)["input_tokens"] == 90


def test_a_cost_that_somebody_worked_out_is_reported_exactly() -> None:
    told = usage_fields({"llm.cost.total": 0.0123, "llm.cost.prompt": 0.0003})

    assert (told["cost_picousd"], told["input_cost_picousd"]) == (12_300_000_000, 300_000_000)
    assert (told["cost_source"], told["cost_status"]) == ("reported", "priced")


def test_the_first_token_is_told_in_seconds() -> None:
    told = call_fields({"gen_ai.response.time_to_first_chunk": 0.25})

    assert (told["ttft_us"], told["streamed"]) == (250_000, True)


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.retrieval.documents": '[{"id": "d1", "score": 0.75}, {"id": 2}]'},
        {"gen_ai.retrieval.documents": ({"id": "d1", "score": 0.75}, {"id": "2"})},
        {
            "retrieval.documents.0.document.id": "d1",
            "retrieval.documents.0.document.score": 0.75,
            "retrieval.documents.0.document.content": "canary",
            "retrieval.documents.1.document.id": 2,
        },
    ],
    ids=["JSON", "structured", "OpenInference"],
)
def test_documents_are_told_by_id_and_score_never_by_their_text(attributes: dict[str, Any]) -> None:
    told = search_fields(
        {**attributes, "gen_ai.data_source.id": "faq", "gen_ai.retrieval.top_k": 3}
    )

    assert told == {
        "data_source_id": "faq",
        "top_k": 3,
        "documents": [{"id": "d1", "score": 0.75}, {"id": "2", "score": None}],
    }


def test_a_tool_without_a_name_has_its_spans() -> None:
    assert tool_fields({}, "execute_tool refund") == {"tool_name": "refund"}
    assert tool_fields({"gen_ai.tool.name": "refund", "gen_ai.tool.call.id": "c"}, "x") == {
        "tool_name": "refund",
        "call_id": "c",
    }


@pytest.mark.parametrize(
    ("attributes", "fields"),
    [
        ({"error.type": "429"}, {"status": "rate_limited", "http_status": 429}),
        ({"error.type": "openai.RateLimitError"}, {"status": "rate_limited"}),
        ({"error.type": "APITimeoutError"}, {"status": "timeout"}),
        ({"exception.type": "asyncio.CancelledError"}, {"status": "cancelled"}),
        ({"error.type": "ValueError", "http.response.status_code": 504}, {"status": "timeout"}),
        ({}, {"status": "error"}),
    ],
)
def test_how_it_ended_is_told_by_the_errors_type(
    attributes: dict[str, Any], fields: dict[str, Any]
) -> None:
    assert error_fields(attributes).items() >= fields.items()


def test_who_it_was_is_told_in_every_dialect() -> None:
    assert envelope_fields(
        {"gen_ai.conversation.id": "c", "session.id": "s", "user.id": "u", "tag.tags": ["a", 5]}
    ) == {"conversation_id": "c", "session_id": "s", "user_id": "u", "tags": ("a",)}


def test_a_score_inside_a_span_is_told_without_its_explanation() -> None:
    attributes = {
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 0.8,
        "gen_ai.evaluation.score.label": "good",
        "gen_ai.evaluation.explanation": "canary",
    }

    assert evaluation("gen_ai.evaluation.result", attributes) == {
        "name": "relevance",
        "value": 0.8,
        "label": "good",
    }
    assert evaluation("exception", attributes) is None


NONSENSE: Any = {
    name: value
    for names in ALIASES.values()
    for name, value in zip(names, (object(), -5, [None, {}], float("nan")), strict=False)
}


def test_nonsense_makes_no_error_and_nothing_that_is_none() -> None:
    nonsense = {**NONSENSE, "llm.invocation_parameters": "{", "gen_ai.retrieval.documents": "["}

    role(nonsense)
    for told in (
        call_fields(nonsense),
        usage_fields(nonsense),
        search_fields(nonsense),
        tool_fields(nonsense, "x"),
        error_fields(nonsense),
        envelope_fields(nonsense),
    ):
        assert None not in told.values()
