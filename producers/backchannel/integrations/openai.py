"""OpenAI's client, and every other that is used through it: chat, responses, embeddings.

::

    client = wrap(OpenAI(), producer)

Works for ``OpenAI``, ``AsyncOpenAI`` and Azure's, with everything they are called by: ``create``,
``parse``, ``stream``, ``with_options``, ``with_raw_response``.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from backchannel.integrations.answer import Answer, Operation
from backchannel.integrations.payload import count, each, look, text
from backchannel.integrations.stainless import watch
from backchannel.millionths import millionths
from backchannel.recorder import Recorder

__all__ = ["openai_usage", "wrap"]

C = TypeVar("C")


def wrap(
    client: C,
    producer: Recorder,
    *,
    provider: str | None = None,
    count_streams: bool | None = None,
) -> C:
    """Tracks an ``LlmCall`` for each call of this client, and returns the same client.

    What the client returns and raises stays as it is. Inside a turn the call belongs to the turn.

    ``provider`` says who answers, where the address does not: an own gateway or server; by default
    the host's name stands there then, and the cost is ``unpriced``.

    A chat stream tells its tokens only when it is asked to. It is asked where that is known to be
    understood (OpenAI, Azure), unless the bot asks itself; the piece that holds nothing else is
    not shown to the bot. ``count_streams`` says yes or no for any server. Without it the tokens are
    estimated from the text, and marked so.

    Raises:
        TypeError: it is no such client. Nothing is raised later.
    """
    return watch(client, producer, _OPERATIONS, provider=provider, count_streams=count_streams)


def openai_usage(usage: Any) -> dict[str, int]:
    """Returns the token fields of ``LlmCall``, from the usage of any of OpenAI's interfaces.

    OpenAI's totals are inclusive already. Where a server of another make leaves the thinking out of
    the output, which its own total shows, it is added.
    """
    given = count(usage, "prompt_tokens") or count(usage, "input_tokens")
    made = count(usage, "completion_tokens") or count(usage, "output_tokens")
    read = look(usage, "prompt_tokens_details") or look(usage, "input_tokens_details")
    written = look(usage, "completion_tokens_details") or look(usage, "output_tokens_details")
    reasoning = count(written, "reasoning_tokens")
    if reasoning and count(usage, "total_tokens") == given + made + reasoning:
        made += reasoning
    found = {
        "input_tokens": given,
        "output_tokens": made,
        "cache_read_tokens": count(read, "cached_tokens")
        or count(usage, "prompt_cache_hit_tokens"),  # DeepSeek's name
        "cache_write_tokens": count(read, "cache_write_tokens"),
        "reasoning_tokens": reasoning,
        "input_audio_tokens": count(read, "audio_tokens"),
        "output_audio_tokens": count(written, "audio_tokens"),
    }
    return {name: tokens for name, tokens in found.items() if tokens}


def _request(body: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if isinstance(body.get("model"), str):
        fields["model"] = body["model"]
    temperature = millionths(body.get("temperature"))
    if temperature is not None:
        fields["temperature"] = temperature
    for name in ("max_completion_tokens", "max_output_tokens", "max_tokens"):
        if count(body, name):
            fields["max_tokens"] = count(body, name)
            break
    if text(body, "service_tier"):
        fields["service_tier"] = body["service_tier"]
    return fields


def _note(answer: Answer, told: Any) -> None:
    """Notes what whole answers and pieces of streams say alike."""
    for name, key in (("response_id", "id"), ("response_model", "model")):
        if name not in answer.facts and (word := text(told, key)):  # each piece repeats them
            answer.facts[name] = word
    if tier := text(told, "service_tier"):
        answer.facts["service_tier"] = tier
    usage = look(told, "usage")
    if usage is not None:
        answer.usage = openai_usage(usage)
        answer.usage_final = True


def _chat_whole(answer: Answer, told: Any) -> None:
    _note(answer, told)
    for index, choice in enumerate(each(told, "choices")):
        answer.hear(text(choice, "message", "content"), text(choice, "text"))
        if text(choice, "finish_reason"):
            answer.reasons[index] = text(choice, "finish_reason")


def _chat_part(answer: Answer, told: Any) -> bool:
    _note(answer, told)
    before = answer.length
    for choice in each(told, "choices"):
        delta = look(choice, "delta")
        # "reasoning_content" is what DeepSeek, vLLM and others call a thought.
        for name in ("content", "refusal", "reasoning_content", "reasoning"):
            answer.hear(text(delta, name))
        for call in each(delta, "tool_calls"):
            answer.hear(text(call, "function", "name"), text(call, "function", "arguments"))
        answer.hear(text(delta, "function_call", "arguments"), text(choice, "text"))
        if text(choice, "finish_reason"):
            answer.reasons[count(choice, "index")] = text(choice, "finish_reason")
    return answer.length > before


def _chat_ask(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    options = body.get("stream_options") or {}
    if not isinstance(options, Mapping) or "include_usage" in options:
        return None
    return {**body, "stream_options": {**options, "include_usage": True}}


def _chat_asked_for(told: Any) -> bool:
    return not each(told, "choices") and look(told, "usage") is not None


def _response_whole(answer: Answer, told: Any) -> None:
    _note(answer, told)
    reason = text(told, "incomplete_details", "reason") or text(told, "status")
    if reason:
        answer.reasons[0] = reason
    if reason == "failed":
        answer.facts["status"] = "error"
        answer.facts["error_type"] = text(told, "error", "code") or "failed"
    if reason == "cancelled":
        answer.facts["status"] = "cancelled"
    if not answer.length:  # a stream has told it word by word
        for item in each(told, "output"):
            answer.hear(*(text(part, "text") for part in each(item, "content")))


def _response_part(answer: Answer, told: Any) -> bool:
    kind = text(told, "type")
    if kind in ("response.completed", "response.incomplete", "response.failed"):
        _response_whole(answer, look(told, "response"))
    elif kind == "response.created":
        _note(answer, look(told, "response"))
    elif kind == "error":
        answer.facts["status"] = "error"
        answer.facts["error_type"] = text(told, "code") or "error"
    elif kind.endswith(".delta"):
        answer.hear(text(told, "delta"))
        return True
    return False


def _embeddings_request(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("input")
    several = isinstance(given, (list, tuple)) and given and not isinstance(given[0], int)
    return _request(body) | {"batch_size": len(given) if given is not None and several else 1}


def _never(answer: Answer, told: Any) -> bool:
    return False


_OPERATIONS = {
    "/chat/completions": Operation(
        "chat", _request, _chat_whole, _chat_part, _chat_ask, _chat_asked_for
    ),
    "/completions": Operation(
        "text_completion", _request, _chat_whole, _chat_part, _chat_ask, _chat_asked_for
    ),
    "/responses": Operation("chat", _request, _response_whole, _response_part),
    "/embeddings": Operation("embeddings", _embeddings_request, _note, _never),
}
