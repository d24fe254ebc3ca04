"""LangChain's callbacks: chains become turns, with the models, tools and retrievers inside them.

::

    chain.invoke(question, config={"callbacks": [LangChainHandler(producer)]})

One handler serves any number of runs, threads and tasks at once. LangGraph calls the same ones.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from backchannel.calls import Call
from backchannel.integrations.answer import Answer, keep_content
from backchannel.integrations.extras import MissingExtraError
from backchannel.integrations.outcome import outcome
from backchannel.integrations.payload import count, each, look, text
from backchannel.integrations.providers import provider_name
from backchannel.millionths import millionths
from backchannel.prices import PriceBook
from backchannel.recorder import Recorder
from backchannel.span import Span
from backchannel.turn import Turn, current_turn

try:
    from langchain_core.callbacks import BaseCallbackHandler
except ImportError as missing:  # pragma: no cover  # tested in an environment without it
    raise MissingExtraError("langchain") from missing

__all__ = ["LangChainHandler", "langchain_usage"]

_RUNS_MAX = 10_000
"""Runs under way that are remembered. Beyond, the oldest is ended as ``cancelled`` and counted."""
_ENVELOPE = {
    # a key of the run's metadata -> our field; LangGraph's thread is a conversation
    "conversation_id": "conversation_id",
    "thread_id": "conversation_id",
    "session_id": "session_id",
    "user_id": "user_id",
    "tenant_id": "tenant_id",
    "request_id": "request_id",
}
_SCORES = ("score", "relevance_score", "_score", "similarity")


class LangChainHandler(BaseCallbackHandler):
    """Tracks what runs do. Never blocks, never raises.

    - Chat models and completions become ``LlmCall``s, with tokens, first token and finish reasons;
      tools ``ToolCall``s; retrievers ``Retrieval``s. Each names the one around it as its parent.
    - The outermost chain becomes the turn (``Interaction``) that all of it belongs to, unless it
      runs inside a turn of the bot's own. ``turns=False`` leaves turns to the bot.
    - ``conversation_id`` (or LangGraph's ``thread_id``), ``session_id``, ``user_id``,
      ``tenant_id`` and ``request_id`` are taken from the ``metadata`` of a run's config.
    """

    # In the run's own task and thread, also in async chains: nothing here waits for anything, and
    # times taken in a pool's thread would be the pool's.
    run_inline = True

    def __init__(self, producer: Recorder, *, turns: bool = True) -> None:
        super().__init__()
        PriceBook.make_way()
        self._producer = producer
        self._turns = turns
        self._runs: OrderedDict[UUID, _Run] = OrderedDict()
        self._lock = threading.Lock()
        self.forgotten: int = 0
        """Runs under way that were given up, since there were too many."""

    # Chains.

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        parent = self._span(parent_run_id)
        if parent is None and self._turns and current_turn() is None:
            fields = {"endpoint": _name(serialized, kwargs), **_envelope(metadata)}
            root = _Root(self._producer.interaction(**fields).start())
            self._open(run_id, _Run(root.turn, own=True, root=root), parent_run_id)
        else:
            self._open(run_id, _Run(parent, own=False), parent_run_id)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        run = self._runs.get(run_id)
        if run is not None and run.own and run.root is not None and run.root.under_way:
            # A stream was left: LangChain tells of the chain's end before that of what it streams.
            run.root.left = True
            with self._lock:
                self._runs.pop(run_id, None)
        else:
            self._close(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._close(run_id, error)

    # Models.

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        prompt = [look(message, "content") for several in messages for message in several]
        self._open_call(serialized, prompt, "chat", run_id, parent_run_id, metadata, kwargs)

    def on_llm_start(
        self,
        serialized: Any,
        prompts: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        operation = "text_completion"
        self._open_call(serialized, prompts, operation, run_id, parent_run_id, metadata, kwargs)

    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any
    ) -> None:
        span = self._span(run_id)
        if span is not None and (token or each(chunk, "message", "tool_call_chunks")):
            span.first_token()

    def on_stream_event(self, event: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._span(run_id)
        if span is not None and text(event, "event") == "content-block-delta":
            span.first_token()

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._close_call(run_id, response)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._close_call(run_id, kwargs.get("response"), error)

    def on_retry(self, retry_state: Any, *, run_id: UUID, **kwargs: Any) -> None:
        span = self._span(run_id)
        if span is not None:
            span.set(retries=count(retry_state, "attempt_number"))

    # Tools and retrievers.

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with self._within(parent_run_id):
            tool = self._producer.tool_call(_name(serialized, kwargs), **_envelope(metadata))
        if text(kwargs, "tool_call_id"):
            tool.set(call_id=kwargs["tool_call_id"])
        self._open(run_id, _Run(tool.start(), own=True), parent_run_id)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._close(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._close(run_id, error)

    def on_retriever_start(
        self,
        serialized: Any,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with self._within(parent_run_id):
            search = self._producer.retrieval(_name(serialized, kwargs), **_envelope(metadata))
        if text(metadata, "ls_embedding_model"):
            search.set(embedding_model=text(metadata, "ls_embedding_model"))
        run = _Run(search.start(), own=True, documents=search.documents)
        self._open(run_id, run, parent_run_id)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        run = self._runs.get(run_id)
        if run is not None and run.documents is not None and isinstance(documents, (list, tuple)):
            run.documents([_document(document) for document in documents])
        self._close(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._close(run_id, error)

    # Runs under way.

    def _open_call(
        self,
        serialized: Any,
        prompt: Any,
        operation: str,
        run_id: UUID,
        parent_run_id: UUID | None,
        metadata: Mapping[str, Any] | None,
        kwargs: Mapping[str, Any],
    ) -> None:
        with self._within(parent_run_id):
            call = self._producer.llm_call(operation=operation, **_envelope(metadata))
        call.set(**_call_fields(metadata, kwargs))
        run = _Run(call.start(), own=True, call=call, prompt=prompt)
        self._open(run_id, run, parent_run_id)

    def _close_call(self, run_id: UUID, result: Any, error: BaseException | None = None) -> None:
        run = self._runs.get(run_id)
        if run is not None and run.call is not None:
            answer = Answer(words=[] if run.call.keeps_content else None)
            _read(answer, result)
            run.call.set(**answer.told())
            keep_content(run.call, answer, run.prompt)
            counts = answer.counts(run.prompt)
            if counts:
                run.call.usage(**counts)
        self._close(run_id, error)

    def _span(self, run_id: UUID | None) -> Span | None:
        run = self._runs.get(run_id) if run_id is not None else None
        return run.span if run is not None else None

    def _within(self, run_id: UUID | None) -> Any:
        parent = self._span(run_id)
        return parent.within() if parent is not None else nullcontext()

    def _open(self, run_id: UUID, run: "_Run", parent_run_id: UUID | None) -> None:
        with self._lock:
            above = self._runs.get(parent_run_id) if parent_run_id is not None else None
            if above is not None and run.root is None:
                run.root = above.root
                if run.own and run.root is not None:
                    run.root.under_way += 1
            self._runs[run_id] = run
            if len(self._runs) <= _RUNS_MAX:
                return
            _, oldest = self._runs.popitem(last=False)
            self.forgotten += 1
        self._finish(oldest, GeneratorExit())

    def _close(self, run_id: UUID, error: BaseException | None = None) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is not None:
            self._finish(run, error)

    def _finish(self, run: "_Run", error: BaseException | None) -> None:
        if not run.own or run.span is None:
            return
        if error is not None:
            run.span.set(**outcome(error).fields())
        run.span.end()
        root = run.root
        if root is None or root.turn is run.span:
            return
        with self._lock:
            root.under_way -= 1
            over = root.left and not root.under_way
        if over:
            root.turn.end(status="cancelled")


@dataclass(slots=True)
class _Root:
    """A turn that a handler opened, for its outermost chain."""

    turn: Turn
    under_way: int = 0
    """Calls, tools and searches inside that have not ended."""
    left: bool = False
    """Whether the chain ended before them."""


@dataclass(slots=True)
class _Run:
    """One run under way: the span that it is (``own``), or the one that it stands in."""

    span: Span | None
    own: bool
    call: Call | None = None
    documents: Any = None
    prompt: Any = None
    root: _Root | None = None


def langchain_usage(usage: Any) -> dict[str, int]:
    """Returns the token fields of ``LlmCall``, from LangChain's ``UsageMetadata``: its totals are
    inclusive, as ours are."""
    found = {
        "input_tokens": count(usage, "input_tokens"),
        "output_tokens": count(usage, "output_tokens"),
        "cache_read_tokens": count(usage, "input_token_details", "cache_read"),
        "cache_write_tokens": count(usage, "input_token_details", "cache_creation"),
        "reasoning_tokens": count(usage, "output_token_details", "reasoning"),
        "input_audio_tokens": count(usage, "input_token_details", "audio"),
        "output_audio_tokens": count(usage, "output_token_details", "audio"),
    }
    return {name: tokens for name, tokens in found.items() if tokens}


def _read(answer: Answer, result: Any) -> None:
    """Reads an ``LLMResult``: one list of generations for each prompt."""
    generations: list[Any] = [one for several in each(result, "generations") for one in several]
    for index, generation in enumerate(generations):
        message = look(generation, "message")
        told = look(message, "response_metadata") or look(generation, "generation_info")
        answer.hear(text(message, "text") or text(generation, "text"))
        _put(answer, "response_id", text(told, "id") or text(message, "id"))
        _put(answer, "response_model", text(told, "model_name") or text(told, "model"))
        _put(answer, "service_tier", text(told, "service_tier"))
        reason = text(told, "finish_reason") or text(told, "stop_reason")
        if reason:
            answer.reasons[index] = reason
        usage = look(message, "usage_metadata")
        if usage:
            answer.usage_final = True
            for name, tokens in langchain_usage(usage).items():
                answer.usage[name] = answer.usage.get(name, 0) + tokens
    _put(answer, "response_model", text(result, "llm_output", "model_name"))
    older = look(result, "llm_output", "token_usage")
    if older and not answer.usage_final:
        answer.usage_final = True
        answer.usage = {
            "input_tokens": count(older, "prompt_tokens"),
            "output_tokens": count(older, "completion_tokens"),
        }


def _put(answer: Answer, name: str, value: str) -> None:
    if value:
        answer.facts.setdefault(name, value)


def _call_fields(metadata: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a run says of the model that it calls, in LangSmith's standard words."""
    given = look(kwargs, "invocation_params")
    fields: dict[str, Any] = {}
    model = (
        text(metadata, "ls_model_name")
        or text(given, "model")
        or text(given, "model_name")
        or text(given, "_type")
    )
    if model:
        fields["request_model"] = model
    if text(metadata, "ls_provider"):
        fields["provider"] = provider_name(text(metadata, "ls_provider"))
    temperature = millionths(look(metadata, "ls_temperature"))
    if temperature is not None:
        fields["temperature"] = temperature
    if count(metadata, "ls_max_tokens"):
        fields["max_tokens"] = count(metadata, "ls_max_tokens")
    return fields


def _envelope(metadata: Any) -> dict[str, str]:
    fields: dict[str, str] = {}
    for theirs, ours in _ENVELOPE.items():
        found = look(metadata, theirs)
        if isinstance(found, (str, int, UUID)):
            fields.setdefault(ours, str(found))
    return fields


def _name(serialized: Any, kwargs: Mapping[str, Any]) -> str:
    path: Sequence[Any] = each(serialized, "id")
    last = path[-1] if path and isinstance(path[-1], str) else ""
    return text(kwargs, "name") or text(serialized, "name") or last


def _document(document: Any) -> dict[str, Any]:
    metadata = look(document, "metadata")
    name = look(document, "id") or look(metadata, "id") or look(metadata, "source")
    scores = (look(metadata, key) for key in _SCORES)
    return {
        "id": "" if name is None else str(name),
        "score": next((score for score in scores if score is not None), None),
        "source": text(metadata, "source"),
    }
