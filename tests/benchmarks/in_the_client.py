"""What watching a model library costs: OpenAI's own client, as it is and wrapped."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
from openai import DefaultHttpxClient, OpenAI

from backchannel import MemoryTransport, Producer
from backchannel.integrations.openai import wrap as wrapped
from benchmarks.results import Result, percentile

CALLS = 200
"""Of each kind in a round."""
ROUNDS = 5
"""Alternately as it is and wrapped, so that both see the same machine."""
WORDS = 50
"""Pieces of a stream."""
_QUESTION: Any = [{"role": "user", "content": "How long does a refund take?"}]


def wrap(home: Path) -> Iterable[Result]:
    """A call whose answer is there at once, and a stream of fifty words: their time without a
    network, so that what is beside the wrapping is the client alone."""
    with Producer(transport=MemoryTransport()) as producer:
        clients = {"openai": _client(), "backchannel": wrapped(_client(), producer)}
        ways: dict[str, Callable[[OpenAI], object]] = {"call": _call, "stream": _stream}
        spent: dict[tuple[str, str], list[float]] = {}
        for number in range(1 + ROUNDS):
            for way, ask in ways.items():
                for name, client in clients.items():
                    found = [_timed(ask, client) for _ in range(CALLS)]
                    if number:  # the first round warms up
                        spent.setdefault((name, way), []).extend(found)
    for (name, way), values in spent.items():
        for permille, metric in ((500, "p50"), (990, "p99")):
            yield Result("wrap", name, f"{way}_{metric}", percentile(values, permille), "us")


def _timed(ask: Callable[[OpenAI], object], client: OpenAI) -> float:
    before = time.perf_counter_ns()
    ask(client)
    return (time.perf_counter_ns() - before) / 1000


def _call(client: OpenAI) -> object:
    return client.chat.completions.create(model="gpt-4o-mini", messages=_QUESTION)


def _stream(client: OpenAI) -> object:
    return list(
        client.chat.completions.create(model="gpt-4o-mini", messages=_QUESTION, stream=True)
    )


def _client() -> OpenAI:
    return OpenAI(
        api_key="none", http_client=DefaultHttpxClient(transport=httpx.MockTransport(_answer))
    )


def _answer(request: httpx.Request) -> httpx.Response:
    if not json.loads(request.content).get("stream"):
        return httpx.Response(200, json=_WHOLE)
    return httpx.Response(200, content=_PIECES, headers={"content-type": "text/event-stream"})


_HEAD = {"id": "c-1", "created": 1_760_000_000, "model": "gpt-4o-mini-2024-07-18"}
_USAGE = {"prompt_tokens": 12, "completion_tokens": WORDS, "total_tokens": 12 + WORDS}
_WHOLE = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "word " * WORDS},
            "finish_reason": "stop",
        }
    ],
    "usage": _USAGE,
}


def _piece(delta: dict[str, str], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    piece = {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(piece).encode()


_PIECES = (
    b"".join(_piece({"content": "word "}, None) for _ in range(WORDS))
    + _piece({}, "stop")
    + b"data: [DONE]\n\n"
)
