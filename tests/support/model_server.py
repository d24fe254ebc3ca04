"""A model provider on this machine: OpenAI's and Anthropic's interfaces, over real HTTP.

What it does is in the name of the model that is asked for, so that a test reads as one line:
``plain``; ``status-429`` and the like; ``slow`` (a moment passes before the first token); ``mute``
(nothing is counted); ``cut`` (the connection breaks in the middle of a stream); ``endless`` (the
stream stalls); ``hang`` (no answer); ``tool`` (calls a tool); ``filtered``; ``flaky`` (fails once).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from support.local_server import LocalServer

__all__ = ["SLOW_S", "ModelServer", "model_server"]

SLOW_S = 0.12
"""What passes before the first token of ``slow``."""
WORDS = ("Refunds", " take", " five", " days.")
REPLY = "".join(WORDS)

_Json = dict[str, Any]


class ModelServer(LocalServer):
    """Answers in a thread of its own, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[_Json] = []
        """The body of each request."""
        self.seen_flaky = 0

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/chat/completions", self._chat),
            web.post("/openai/deployments/{name}/chat/completions", self._chat),  # Azure's
            web.post("/v1/completions", self._completion),
            web.post("/v1/responses", self._response),
            web.post("/v1/embeddings", self._embeddings),
            web.post("/v1/messages", self._messages),
        ]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        model = body["model"]
        if failed := await self._failed(model, request):
            return failed
        if body.get("stream"):
            return await _events(request, model, _chat_pieces(body), last="[DONE]")
        return web.json_response(_chat_answer(body))

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if body.get("stream"):
            return await _events(request, body["model"], _completion_pieces(body), last="[DONE]")
        return web.json_response(_completion(REPLY, "stop") | {"usage": CHAT_USAGE})

    async def _response(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        model = body["model"]
        if failed := await self._failed(model, request):
            return failed
        if body.get("stream"):
            return await _events(request, model, _response_pieces(body), named=True)
        return web.json_response(_response_answer(body))

    async def _embeddings(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if failed := await self._failed(body["model"], request):
            return failed
        given = body["input"] if isinstance(body["input"], list) else [body["input"]]
        return web.json_response(
            {
                "object": "list",
                "model": "plain-2026-01-01",
                "data": [
                    {"object": "embedding", "index": index, "embedding": [0.5, 0.25]}
                    for index, _ in enumerate(given)
                ],
                "usage": {"prompt_tokens": 8, "total_tokens": 8},
            }
        )

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        model = body["model"]
        if failed := await self._failed(model, request):
            return failed
        if body.get("stream"):
            return await _events(request, model, _message_pieces(body), named=True)
        return web.json_response(_message_answer(body))

    async def _body(self, request: web.Request) -> _Json:
        body: _Json = await request.json()
        self.requests.append(body)
        return body

    async def _failed(self, model: str, request: web.Request) -> web.Response | None:
        if model == "hang":
            await asyncio.sleep(30)
        if model == "flaky":
            self.seen_flaky += 1
            if self.seen_flaky % 2:
                return _error(503, headers={"retry-after-ms": "1"})
        if model.startswith("status-"):
            return _error(int(model.removeprefix("status-")))
        return None


def _reply(structure: Any) -> str:
    """What is answered: an object where the bot asked for one."""
    return json.dumps({"days": 5}) if structure else REPLY


def _error(status: int, headers: dict[str, str] | None = None) -> web.Response:
    # A real provider's message may repeat the key or the prompt: it must not be passed on.
    error = {"type": "some_error", "code": "some_code", "message": "canary-in-a-message sk-canary"}
    return web.json_response({"type": "error", "error": error}, status=status, headers=headers)


async def _events(
    request: web.Request,
    model: str,
    pieces: Iterator[_Json],
    *,
    named: bool = False,
    last: str = "",
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    try:
        async for event in _paced(model, pieces):
            name = f"event: {event['type']}\n" if named else ""
            await response.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        if last:
            await response.write(f"data: {last}\n\n".encode())
        await response.write_eof()
    except _CutError:
        assert request.transport is not None
        request.transport.abort()
    except ConnectionResetError:  # the bot left early, as some tests do
        pass
    return response


class _CutError(Exception):
    """The connection is to break here."""


async def _paced(model: str, pieces: Iterator[_Json]) -> AsyncIterator[_Json]:
    for number, piece in enumerate(pieces):
        if model == "slow" and number == 1:
            await asyncio.sleep(SLOW_S)
        if model == "cut" and number == 3:
            await asyncio.sleep(0.02)  # what was written has to arrive before
            raise _CutError
        if model == "endless" and number == 3:
            await asyncio.sleep(30)
        yield piece


# OpenAI's chat completions.

CHAT_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 24, "audio_tokens": 2},
}
_TOOL_CALL = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "refund", "arguments": '{"order": "A7"}'},
}


def _chat_head(body: _Json, kind: str) -> _Json:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": 1_760_000_000,
        "model": "plain-2026-01-01",
        "service_tier": "default",
    }


def _chat_answer(body: _Json) -> _Json:
    model = body["model"]
    message: _Json = {"role": "assistant", "content": _reply(body.get("response_format"))}
    reason = "content_filter" if model == "filtered" else "stop"
    if model == "tool":
        message |= {"content": None, "tool_calls": [_TOOL_CALL]}
        reason = "tool_calls"
    answer = _chat_head(body, "chat.completion") | {
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}]
    }
    return answer if model == "mute" else answer | {"usage": CHAT_USAGE}


def _chat_pieces(body: _Json) -> Iterator[_Json]:
    head = _chat_head(body, "chat.completion.chunk")
    counted = (body.get("stream_options") or {}).get("include_usage", False)
    if counted:
        head["usage"] = None

    def piece(delta: _Json, reason: str | None = None) -> _Json:
        return head | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    yield piece({"role": "assistant", "content": ""})
    if body["model"] == "tool":
        yield piece({"tool_calls": [_TOOL_CALL]})
        yield piece({}, "tool_calls")
    else:
        for word in WORDS:
            yield piece({"content": word})
        yield piece({}, "stop")
    if counted and body["model"] != "mute":
        yield head | {"choices": [], "usage": CHAT_USAGE}


# OpenAI's completions, of old.


def _completion(text: str, reason: str | None) -> _Json:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_760_000_000,
        "model": "plain-2026-01-01",
        "choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": None}],
    }


def _completion_pieces(body: _Json) -> Iterator[_Json]:
    for word in WORDS:
        yield _completion(word, None)
    yield _completion("", "stop")
    if (body.get("stream_options") or {}).get("include_usage", False):
        yield _completion("", None) | {"choices": [], "usage": CHAT_USAGE}


# OpenAI's responses.

RESPONSE_USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 24},
    "total_tokens": 140,
}


def _response_answer(body: _Json, status: str = "completed") -> _Json:
    asked = (body.get("text") or {}).get("format")
    part = {"type": "output_text", "text": _reply(asked), "annotations": []}
    item = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_760_000_000,
        "model": "plain-2026-01-01",
        "service_tier": "flex",
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": [item] if status == "completed" else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": RESPONSE_USAGE if status == "completed" else None,
    }


def _response_pieces(body: _Json) -> Iterator[_Json]:
    yield {
        "type": "response.created",
        "sequence_number": 0,
        "response": _response_answer(body, "in_progress"),
    }
    for number, word in enumerate(WORDS, start=1):
        yield {
            "type": "response.output_text.delta",
            "sequence_number": number,
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "delta": word,
            "logprobs": [],
        }
    if body["model"] == "failing":
        failed = _response_answer(body, "failed")
        failed["error"] = {"code": "server_error", "message": "canary-in-a-message"}
        yield {"type": "response.failed", "sequence_number": 9, "response": failed}
    else:
        yield {
            "type": "response.completed",
            "sequence_number": 9,
            "response": _response_answer(body),
        }


# Anthropic's messages.

MESSAGE_USAGE = {
    "input_tokens": 30,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 10,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 24},
    "service_tier": "standard",
}


def _message_answer(body: _Json) -> _Json:
    model = body["model"]
    asked = body.get("output_format") or (body.get("output_config") or {}).get("format")
    content: list[_Json] = [{"type": "text", "text": _reply(asked)}]
    reason = "refusal" if model == "filtered" else "end_turn"
    if model == "tool":
        content = [{"type": "tool_use", "id": "tu_1", "name": "refund", "input": {"order": "A7"}}]
        reason = "tool_use"
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "plain-2026-01-01",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": MESSAGE_USAGE,
    }


def _message_pieces(body: _Json) -> Iterator[_Json]:
    start = _message_answer(body) | {"content": [], "stop_reason": None}
    start["usage"] = {**MESSAGE_USAGE, "output_tokens": 1, "output_tokens_details": None}
    yield {"type": "message_start", "message": start}
    yield {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    for word in WORDS:
        yield {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": word},
        }
    if body["model"] == "overloaded":
        error = {"type": "overloaded_error", "message": "canary-in-a-message"}
        yield {"type": "error", "error": error}
        return
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 24}},
    }
    yield {"type": "message_stop"}


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    """A model provider on this machine."""
    with ModelServer() as server:
        yield server
