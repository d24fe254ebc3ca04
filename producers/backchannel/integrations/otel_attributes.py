"""What spans of the dialects that are spoken say, as fields of our events. Pure: no OpenTelemetry.

Dialects: OpenTelemetry's GenAI conventions up to 1.36 (``gen_ai.system``, ``prompt_tokens``), those
of 1.41, and those in development since; OpenInference (``llm.*``); OpenLLMetry (``traceloop.*``,
``llm.usage.*``); Anthropic's own client. Newer names stand first and win.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

from backchannel.integrations.providers import provider_name
from backchannel.millionths import millionths

__all__ = [
    "SpanRole",
    "agent_name",
    "call_fields",
    "envelope_fields",
    "error_fields",
    "evaluation",
    "role",
    "search_fields",
    "tool_fields",
    "usage_fields",
]

Attributes = Mapping[str, Any]

SpanRole = Literal["", "call", "tool", "search", "agent", "step"]
"""What a span is to us; empty for spans of other things."""

ALIASES: dict[str, tuple[str, ...]] = {
    # What every event may have.
    "conversation_id": ("gen_ai.conversation.id",),
    "session_id": ("session.id", "traceloop.association.properties.session_id"),
    "user_id": ("user.id", "enduser.id", "traceloop.association.properties.user_id"),
    "prompt_name": ("gen_ai.prompt.name", "traceloop.prompt.key", "llm.prompt_template.name"),
    "prompt_version": ("traceloop.prompt.version", "llm.prompt_template.version"),
    # Calls to models.
    "operation": ("gen_ai.operation.name", "llm.request.type"),
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "request_model": (
        "gen_ai.request.model",
        "llm.request.model",
        "llm.model_name",
        "embedding.model_name",
    ),
    "response_model": ("gen_ai.response.model", "llm.response.model"),
    "response_id": ("gen_ai.response.id",),
    "temperature": ("gen_ai.request.temperature", "llm.request.temperature"),
    "max_tokens": ("gen_ai.request.max_tokens", "llm.request.max_tokens"),
    "service_tier": (
        "openai.response.service_tier",
        "anthropic.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
    ),
    "server_address": ("server.address", "net.peer.name"),
    "finish_reasons": (
        "gen_ai.response.finish_reasons",
        "anthropic.message.stop_reason",
        "llm.finish_reason",
        "gen_ai.completion.0.finish_reason",
        "llm.response.stop_reason",
    ),
    "streamed": ("gen_ai.request.stream", "llm.is_streaming", "gen_ai.request.is_stream"),
    "ttft_s": ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token"),
    # Tokens: totals are inclusive in all of them.
    "input_tokens": (
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",
        "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.completion",
        "llm.usage.completion_tokens",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "llm.token_count.prompt_details.cache_read",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "llm.token_count.completion_details.reasoning",
        "llm.usage.reasoning_tokens",
    ),
    "input_audio_tokens": ("llm.token_count.prompt_details.audio",),
    "output_audio_tokens": ("llm.token_count.completion_details.audio",),
    # Cost that somebody else has worked out, in US dollars.
    "input_cost": ("llm.cost.prompt", "gen_ai.usage.input_cost"),
    "output_cost": ("llm.cost.completion", "gen_ai.usage.output_cost"),
    "cost": ("llm.cost.total", "gen_ai.usage.cost", "operation.cost"),
    # Tools, searches, agents.
    "tool_name": ("gen_ai.tool.name", "tool.name", "traceloop.entity.name"),
    "tool_type": ("gen_ai.tool.type",),
    "call_id": ("gen_ai.tool.call.id", "tool_call.id"),
    "data_source_id": ("gen_ai.data_source.id", "db.collection.name", "db.namespace"),
    "top_k": ("gen_ai.retrieval.top_k", "gen_ai.request.top_k"),
    "name": (
        "gen_ai.agent.name",
        "gen_ai.workflow.name",
        "agent.name",
        "graph.node.id",
        "traceloop.entity.name",
    ),
    # How it ended.
    "error_type": ("error.type", "exception.type"),
    "http_status": ("http.response.status_code", "http.status_code"),
}
"""Our fields, and what others call them."""

_OPERATIONS = {
    "chat": "call",
    "completion": "call",
    "embedding": "call",
    "embeddings": "call",
    "generate_content": "call",
    "text_completion": "call",
    "execute_tool": "tool",
    "retrieval": "search",
    "create_agent": "step",
    "plan": "step",
    "rerank": "step",
    "invoke_agent": "agent",
    "invoke_workflow": "agent",
}
_KINDS = {
    # OpenInference's, then OpenLLMetry's
    "LLM": "call",
    "EMBEDDING": "call",
    "TOOL": "tool",
    "RETRIEVER": "search",
    "AGENT": "agent",
    "CHAIN": "agent",
    "RERANKER": "step",
    "GUARDRAIL": "step",
    "tool": "tool",
    "agent": "agent",
    "workflow": "agent",
    "task": "agent",
}
_OUR_OPERATION = {"embedding": "embeddings", "completion": "text_completion"}
_DOCUMENTS_MAX = 256
_PICODOLLARS = Decimal(10**12)
_EVALUATION = "gen_ai.evaluation.result"


def role(attributes: Attributes) -> SpanRole:
    """Returns what a span is to us."""
    found = _OPERATIONS.get(_word(attributes, "operation"))
    if found is None:
        for name in ("openinference.span.kind", "traceloop.span.kind"):
            kind = attributes.get(name)
            found = _KINDS.get(kind) if isinstance(kind, str) else None
            if found is not None:
                break
    if found is None and _word(attributes, "request_model") and _word(attributes, "provider"):
        found = "call"
    return found or ""  # type: ignore[return-value]  # the tables above hold roles alone


def envelope_fields(attributes: Attributes) -> dict[str, Any]:
    """Returns the fields that an event of any type may have."""
    names = ("conversation_id", "session_id", "user_id", "prompt_name", "prompt_version")
    fields: dict[str, Any] = _words(attributes, names)
    tags = attributes.get("tag.tags")
    if isinstance(tags, (list, tuple)):
        fields["tags"] = tuple(tag for tag in tags if isinstance(tag, str) and tag)
    return fields


def call_fields(attributes: Attributes) -> dict[str, Any]:
    """Returns the fields of an ``LlmCall`` but its tokens and its end."""
    names = ("request_model", "response_model", "response_id", "service_tier", "server_address")
    fields: dict[str, Any] = _words(attributes, names)
    operation = _word(attributes, "operation")
    if not operation:
        embeds = attributes.get("openinference.span.kind") == "EMBEDDING"
        operation = "embeddings" if embeds else "chat"
    fields["operation"] = _OUR_OPERATION.get(operation, operation)
    provider = _word(attributes, "provider")
    if provider:
        fields["provider"] = provider_name(provider)
    given = _parameters(attributes)
    temperature = _first(attributes, "temperature", given.get("temperature"))
    if (in_millionths := millionths(temperature)) is not None:
        fields["temperature"] = in_millionths
    most = _first(attributes, "max_tokens", given.get("max_tokens"))
    if isinstance(most, int) and most > 0:
        fields["max_tokens"] = most
    reasons = _first(attributes, "finish_reasons")
    reasons = (reasons,) if isinstance(reasons, str) else reasons
    if isinstance(reasons, (list, tuple)):
        fields["finish_reasons"] = tuple(word for word in reasons if isinstance(word, str))
    if _first(attributes, "streamed") is True or given.get("stream") is True:
        fields["streamed"] = True
    ttft_s = _first(attributes, "ttft_s")
    if isinstance(ttft_s, (int, float)) and ttft_s >= 0:
        fields |= {"ttft_us": round(ttft_s * 1_000_000), "streamed": True}
    return fields


def usage_fields(attributes: Attributes) -> dict[str, Any]:
    """Returns tokens and reported cost; empty when the span says nothing of them.

    Conventions say that the input includes what a cache took. Where the cache alone is more than
    the input it plainly does not, and is added.
    """
    names = (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "input_audio_tokens",
        "output_audio_tokens",
    )
    found = ((name, _first(attributes, name)) for name in names)
    fields: dict[str, Any] = {
        name: tokens
        for name, tokens in found
        if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0
    }
    cached = fields.get("cache_read_tokens", 0) + fields.get("cache_write_tokens", 0)
    if cached > fields.get("input_tokens", 0):
        fields["input_tokens"] = fields.get("input_tokens", 0) + cached
    if fields:
        fields["usage_source"] = "provider"
    cost = _picodollars(_first(attributes, "cost"))
    if cost is not None:
        fields |= {"cost_picousd": cost, "cost_source": "reported", "cost_status": "priced"}
        for name in ("input_cost", "output_cost"):
            part = _picodollars(_first(attributes, name))
            if part is not None:
                fields[f"{name}_picousd"] = part
    return fields


def tool_fields(attributes: Attributes, span_name: str) -> dict[str, Any]:
    """Returns the fields of a ``ToolCall`` but its end."""
    fields: dict[str, Any] = _words(attributes, ("tool_name", "tool_type", "call_id"))
    fields.setdefault("tool_name", span_name.removeprefix("execute_tool "))
    return fields


def search_fields(attributes: Attributes) -> dict[str, Any]:
    """Returns the fields of a ``Retrieval`` but its end; documents as id and score, never text."""
    fields: dict[str, Any] = _words(attributes, ("data_source_id",))
    top_k = _first(attributes, "top_k")
    if isinstance(top_k, (int, float)) and top_k > 0:
        fields["top_k"] = int(top_k)
    documents = list(_documents(attributes))
    if documents:
        fields["documents"] = documents
    return fields


def agent_name(attributes: Attributes, span_name: str) -> str:
    """Returns the name of an agent, a chain, or a step of one."""
    return _word(attributes, "name") or span_name


def error_fields(attributes: Attributes) -> dict[str, Any]:
    """Returns how a failed span ended, by its ``error.type``: a status code or a name."""
    kind = _word(attributes, "error_type").rsplit(".", 1)[-1]
    status = _first(attributes, "http_status")
    if not isinstance(status, int):
        status = int(kind) if kind.isdecimal() and len(kind) == len("429") else None
    lower = kind.lower()
    fields: dict[str, Any] = {"status": "error"}
    if status == 429 or "ratelimit" in lower or "rate_limit" in lower:
        fields["status"] = "rate_limited"
    elif status in (408, 504) or "timeout" in lower:
        fields["status"] = "timeout"
    elif "cancelled" in lower or lower == "generatorexit":
        fields["status"] = "cancelled"
    if kind:
        fields["error_type"] = kind
    if status is not None:
        fields["http_status"] = status
    return fields


def evaluation(event_name: str, attributes: Attributes) -> dict[str, Any] | None:
    """Returns the score that an event inside a span tells, as arguments of ``evaluation``."""
    name = attributes.get("gen_ai.evaluation.name")
    if event_name != _EVALUATION or not isinstance(name, str):
        return None
    found: dict[str, Any] = {"name": name}
    value = attributes.get("gen_ai.evaluation.score.value")
    if isinstance(value, (int, float)):
        found["value"] = value
    label = attributes.get("gen_ai.evaluation.score.label")
    if isinstance(label, str):
        found["label"] = label
    if "error.type" in attributes:
        found |= {"status": "error", "error_type": str(attributes["error.type"])}
    return found


def _first(attributes: Attributes, field: str, otherwise: Any = None) -> Any:
    for name in ALIASES[field]:
        if attributes.get(name) is not None:
            return attributes[name]
    return otherwise


def _word(attributes: Attributes, field: str) -> str:
    found = _first(attributes, field)
    return found if isinstance(found, str) else ""


def _words(attributes: Attributes, fields: tuple[str, ...]) -> dict[str, str]:
    found = ((field, _word(attributes, field)) for field in fields)
    return {field: word for field, word in found if word}


def _parameters(attributes: Attributes) -> Mapping[str, Any]:
    """OpenInference's parameters of a call: JSON in one attribute."""
    try:
        found = json.loads(attributes.get("llm.invocation_parameters", "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _picodollars(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, (int, float)):
        return None
    try:
        found = round(Decimal(repr(usd)) * _PICODOLLARS)
    except (ArithmeticError, ValueError):
        return None
    return found if found >= 0 else None


def _documents(attributes: Attributes) -> Iterator[dict[str, Any]]:
    told = attributes.get("gen_ai.retrieval.documents")
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError:
            told = None
    if isinstance(told, (list, tuple)):
        for document in told[:_DOCUMENTS_MAX]:
            if isinstance(document, Mapping):
                yield {"id": str(document.get("id", "")), "score": document.get("score")}
        return
    for number in range(_DOCUMENTS_MAX):
        prefix = f"retrieval.documents.{number}.document."
        name, score = attributes.get(prefix + "id"), attributes.get(prefix + "score")
        if name is None and score is None and prefix + "content" not in attributes:
            return
        yield {"id": "" if name is None else str(name), "score": score}
