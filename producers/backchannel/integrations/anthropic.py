"""Anthropic's client: messages, whole and streamed.

::

    client = wrap(Anthropic(), producer)

Works for ``Anthropic``, ``AsyncAnthropic`` and those for Bedrock and Vertex, with everything they
are called by: ``messages.create``, ``messages.stream``, ``messages.parse``, ``beta``,
``with_options``, ``with_raw_response``.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from backchannel.integrations.answer import Answer, Operation
from backchannel.integrations.payload import count, each, look, text
from backchannel.integrations.stainless import watch
from backchannel.millionths import millionths
from backchannel.recorder import Recorder

__all__ = ["anthropic_usage", "wrap"]

C = TypeVar("C")


def wrap(client: C, producer: Recorder, *, provider: str | None = None) -> C:
    """Tracks an ``LlmCall`` for each call of this client, and returns the same client.

    What the client returns and raises stays as it is. Inside a turn the call belongs to the turn.

    ``provider`` says who answers, where the address does not: an own gateway or server; by default
    the host's name stands there then, and the cost is ``unpriced``.

    Raises:
        TypeError: it is no such client. Nothing is raised later.
    """
    return watch(client, producer, _OPERATIONS, provider=provider, count_streams=False)


def anthropic_usage(usage: Any) -> dict[str, int]:
    """Returns the token fields of ``LlmCall``.

    Anthropic counts what was read from and written to the cache apart from the input; here the
    input includes both, as everywhere in backchannel.
    """
    cache_read = count(usage, "cache_read_input_tokens")
    cache_write = count(usage, "cache_creation_input_tokens")
    found = {
        "input_tokens": count(usage, "input_tokens") + cache_read + cache_write,
        "output_tokens": count(usage, "output_tokens"),
        "cache_read_tokens": cache_read,
        "cache_write_tokens": cache_write,
        "reasoning_tokens": count(usage, "output_tokens_details", "thinking_tokens"),
    }
    return {name: tokens for name, tokens in found.items() if tokens}


def _request(body: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if isinstance(body.get("model"), str):
        fields["model"] = body["model"]
    temperature = millionths(body.get("temperature"))
    if temperature is not None:
        fields["temperature"] = temperature
    if count(body, "max_tokens"):
        fields["max_tokens"] = count(body, "max_tokens")
    if text(body, "service_tier"):
        fields["service_tier"] = body["service_tier"]
    return fields


def _note(answer: Answer, told: Any) -> None:
    for name, key in (("response_id", "id"), ("response_model", "model")):
        if text(told, key):
            answer.facts[name] = text(told, key)
    if text(told, "usage", "service_tier"):
        answer.facts["service_tier"] = text(told, "usage", "service_tier")
    if text(told, "stop_reason"):
        answer.reasons[0] = text(told, "stop_reason")


def _whole(answer: Answer, told: Any) -> None:
    _note(answer, told)
    answer.usage = anthropic_usage(look(told, "usage"))
    answer.usage_final = look(told, "usage") is not None
    answer.hear(*(text(block, "text") for block in each(told, "content")))


def _part(answer: Answer, told: Any) -> bool:
    kind = text(told, "type")
    if kind == "message_start":
        _note(answer, look(told, "message"))
        answer.usage = anthropic_usage(look(told, "message", "usage"))
    elif kind == "message_delta":
        _note(answer, look(told, "delta"))
        # Its counts are running totals. What it leaves out is as at the start.
        answer.usage |= _running(answer.usage, look(told, "usage"))
        answer.usage_final = bool(answer.reasons)
    elif kind == "content_block_delta":
        for name in ("text", "thinking", "partial_json"):
            answer.hear(text(told, "delta", name))
        return text(told, "delta", "type") != "signature_delta"
    return False


def _running(known: Mapping[str, int], usage: Any) -> dict[str, int]:
    told = anthropic_usage(usage)
    if look(usage, "input_tokens") is None:  # then there is nothing to add the cache to
        return {
            name: tokens
            for name, tokens in told.items()
            if name in ("output_tokens", "reasoning_tokens")
        }
    return {name: max(tokens, known.get(name, 0)) for name, tokens in told.items()}


_MESSAGES = Operation("chat", _request, _whole, _part)
_OPERATIONS = {"/messages": _MESSAGES}
