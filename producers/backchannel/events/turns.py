"""What a bot does in a turn: the interaction itself, and the calls inside it."""

from typing import Annotated, Literal

from pydantic import Field

from backchannel.events.envelope import Envelope, Marked
from backchannel.events.fields import (
    CostStatus,
    Count,
    Fraction,
    Label,
    Picodollars,
    SignedMillionths,
    Status,
    Strings,
    Tag,
    Text,
    Us,
    UsageSource,
)

__all__ = ["Component", "Document", "Interaction", "LlmCall", "Metered", "Retrieval", "ToolCall"]


class Metered(Envelope):
    """Tokens and cost, the same on a turn and on each call to a provider.

    ``input_tokens`` includes tokens read from and written to a cache, ``output_tokens`` includes
    reasoning: totals are inclusive, as in OpenTelemetry's conventions. A provider that reports
    them apart is added up where its answer is read.
    """

    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    reasoning_tokens: Count = 0
    input_audio_tokens: Count = 0
    output_audio_tokens: Count = 0
    usage_source: UsageSource = ""
    input_cost_picousd: Picodollars | None = None
    output_cost_picousd: Picodollars | None = None
    cost_picousd: Picodollars | None = None
    """Total cost; ``None`` when it is not known, never zero for an unknown price."""
    cost_source: Literal["", "reported", "price_table", "custom_table"] = ""
    cost_status: CostStatus = ""
    price_version: Label = ""


class Interaction(Metered):
    """One turn of a user with the bot: the row that analysts start from."""

    event_type: Literal["interaction"] = "interaction"
    endpoint: Label = ""
    http_method: Label = ""
    http_status: Count | None = None
    status: Status = "ok"
    error_type: Label = ""
    error_message: Text = ""
    duration_us: Us = 0
    ttft_us: Us | None = None
    """Time to the first token, for streamed answers."""
    ttfb_us: Us | None = None
    """Time to the first byte of an HTTP response's body."""
    in_flight: Count | None = None
    """Requests under way in the process when it began, itself included: the load it met."""
    streamed: bool = False
    components: Annotated[dict[Tag, Us], Field(max_length=64)] = Field(default_factory=dict)
    """Time in each part of the turn, e.g. ``rag_retrieval``, ``llm_generation``."""
    provider: Label = ""
    model: Label = ""
    llm_calls: Count = 0
    intent: Label = ""
    intent_confidence: Fraction | None = None
    query_category: Label = ""
    conversation_length: Count | None = None
    """Turns of the conversation so far, this one included."""
    fallback_used: bool = False
    cache_hit: bool | None = None


class LlmCall(Metered):
    """One call to a model provider, embeddings included."""

    event_type: Literal["llm_call"] = "llm_call"
    operation: Label = "chat"
    provider: Label = ""
    request_model: Label = ""
    """The model that was asked for."""
    response_model: Label = ""
    """The model that answered, as the provider names it."""
    response_id: Label = ""
    finish_reasons: Strings = ()
    streamed: bool = False
    temperature: SignedMillionths | None = None
    """In millionths."""
    max_tokens: Count | None = None
    service_tier: Label = ""
    server_address: Label = ""
    duration_us: Us = 0
    ttft_us: Us | None = None
    queue_us: Us | None = None
    retries: Count = 0
    status: Status = "ok"
    http_status: Count | None = None
    error_type: Label = ""
    error_message: Text = ""
    semantic_cache: Literal["", "hit", "miss", "off"] = ""
    batch_size: Count | None = None


class Document(Marked):
    """One retrieved document: its name and how well it fits, never its text."""

    id: Label = ""
    score: SignedMillionths | None = None
    """In millionths."""
    rank: Count | None = None
    source: Label = ""


class Retrieval(Envelope):
    """One search for documents."""

    event_type: Literal["retrieval"] = "retrieval"
    data_source_id: Label = ""
    index_version: Label = ""
    embedding_model: Label = ""
    query_hash: Label = ""
    top_k: Count | None = None
    documents: Annotated[tuple[Document, ...], Field(max_length=256)] = ()
    duration_us: Us = 0
    embed_us: Us | None = None
    search_us: Us | None = None
    cache_hit: bool | None = None
    status: Status = "ok"
    error_type: Label = ""
    error_message: Text = ""


class ToolCall(Envelope):
    """One call of a tool or function."""

    event_type: Literal["tool_call"] = "tool_call"
    tool_name: Label = ""
    tool_type: Label = ""
    call_id: Label = ""
    duration_us: Us = 0
    status: Status = "ok"
    error_type: Label = ""
    error_message: Text = ""


class Component(Envelope):
    """One timed part of a turn, or of work outside a turn."""

    event_type: Literal["component"] = "component"
    name: Label
    duration_us: Us = 0
    status: Status = "ok"
    error_type: Label = ""
    error_message: Text = ""
