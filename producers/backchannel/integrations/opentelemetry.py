"""A span processor: spans of models, tools and searches become events as they end.

::

    provider.add_span_processor(BackchannelSpanProcessor(producer))

For bots that are instrumented already: by OpenTelemetry's own instrumentations, OpenInference,
OpenLLMetry, or a library that speaks one of their dialects. Other processors still get every span.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from backchannel.calls import Call, Search, ToolUse
from backchannel.integrations.extras import MissingExtraError
from backchannel.integrations.otel_attributes import (
    SpanRole,
    agent_name,
    call_fields,
    envelope_fields,
    error_fields,
    evaluation,
    role,
    search_fields,
    tool_fields,
    usage_fields,
)
from backchannel.integrations.outcome import BLOCKED_REASONS
from backchannel.recorder import Recorder
from backchannel.span import Span as OurSpan
from backchannel.turn import Turn, current_turn

try:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
    from opentelemetry.trace import StatusCode, format_span_id, format_trace_id
except ImportError as missing:  # pragma: no cover  # tested in an environment without it
    raise MissingExtraError("opentelemetry") from missing

__all__ = ["BackchannelSpanProcessor"]

_OPEN_MAX = 10_000
"""Spans under way that are remembered. Beyond, the oldest is forgotten and counted: its children
are events all the same, only not tied to it."""
_FIRST_TOKEN = "First Token Stream Event"  # noqa: S105  # OpenInference's name of an event


@dataclass(slots=True)
class _Open:
    """A span under way, as its children need to know it."""

    span: OurSpan | None
    """The nearest span that becomes an event: this one (``own``) or one around it."""
    own: bool
    in_call: bool
    """Whether it is a call to a model, or inside one."""
    root: "_Open | None"
    """The outermost agent around it, if that is a turn of ours."""
    left_out: bool = False
    """Whether it is inside another model's span."""
    calls: int = 0
    """Calls to models inside, where it is such a turn."""


class BackchannelSpanProcessor(SpanProcessor):
    """Turns spans into events. Never blocks, never raises; counts what it leaves out.

    - A model's span becomes an ``LlmCall``; tools become ``ToolCall``s, searches ``Retrieval``s.
    - The outermost agent or chain becomes an ``Interaction``, with the tokens of the calls inside
      added up, unless it runs inside a turn of the bot's own, which then has them. Agents and
      chains further in are no events; reranking, guardrails and the like are parts of the turn.
    - A model's span inside another model's span (two instrumentations at once) is left out: its
      tokens would count twice.

    Ids are those of the spans. Neither prompts nor answers nor messages of exceptions are read.
    """

    def __init__(self, producer: Recorder) -> None:
        self._producer = producer
        self._open: OrderedDict[int, _Open] = OrderedDict()
        self._lock = threading.Lock()
        self.forgotten: int = 0
        """Spans under way that were forgotten, since there were too many."""
        self.nested_calls: int = 0
        """Models' spans inside of models' spans that were left out."""
        self.failures: int = 0
        """Spans that no event could be made of."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        try:
            self._start(span)
        except Exception:  # noqa: BLE001  # whatever a span holds: the bot goes on
            self.failures += 1

    def on_end(self, span: ReadableSpan) -> None:
        try:
            self._end(span)
        except Exception:  # noqa: BLE001  # whatever a span holds: the bot goes on
            self.failures += 1

    def shutdown(self) -> None:
        """Does nothing: the producer is closed by whoever opened it."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Returns at once: events are with the producer already, which is flushed by its owner."""
        return True

    def _start(self, span: Span) -> None:
        what = role(span.attributes or {})
        above = self._above(span)
        now_open = self._opened(what, span, above)
        with self._lock:
            self._open[span.context.span_id] = now_open
            if len(self._open) > _OPEN_MAX:
                self._open.popitem(last=False)
                self.forgotten += 1

    def _end(self, span: ReadableSpan) -> None:
        with self._lock:
            now_open = self._open.pop(span.context.span_id, None)
        attributes = span.attributes or {}
        what = role(attributes)
        if now_open is None or (what and not now_open.own and not now_open.left_out):
            # It was forgotten, or did not say at its start what it is.
            now_open = self._opened(what, span, self._above(span))
        event = now_open.span
        if event is None or not now_open.own:
            return
        event.set(**_times(span), **envelope_fields(attributes))
        if isinstance(event, Call):
            event.set(**call_fields(attributes))
            event.usage(**usage_fields(attributes))
            if now_open.root is not None:
                now_open.root.calls += 1
        elif isinstance(event, ToolUse):
            event.set(**tool_fields(attributes, span.name))
        elif isinstance(event, Search):
            fields = search_fields(attributes)
            event.documents(fields.pop("documents", ()))
            event.set(**fields)
        elif isinstance(event, Turn) and not now_open.calls:
            event.set(**usage_fields(attributes))  # nobody else tells its tokens
        for told in span.events:
            found = evaluation(told.name, told.attributes or {})
            if found is not None:
                self._producer.evaluation(target=event, **found)
        event.set(**_ended(span, attributes))
        event.end()

    def _above(self, span: ReadableSpan) -> _Open | None:
        if span.parent is None:
            return None
        with self._lock:
            return self._open.get(span.parent.span_id)

    def _opened(self, what: SpanRole, span: ReadableSpan, above: _Open | None) -> _Open:
        """Opens the event that a span becomes, inside those that its parents become."""
        parent = above.span if above is not None else None
        in_call = above is not None and above.in_call
        root = above.root if above is not None else None
        if what == "call" and in_call:
            self.nested_calls += 1
            return _Open(parent, own=False, in_call=True, root=root, left_out=True)
        ids = {
            **envelope_fields(span.attributes or {}),
            "span_id": format_span_id(span.context.span_id),
            "trace_id": format_trace_id(span.context.trace_id),
        }
        if parent is not None or current_turn() is not None:
            del ids["trace_id"]  # that of the turn around it
        own: OurSpan | None = None
        with parent.within() if parent is not None else nullcontext():
            match what:
                case "agent" if parent is None and current_turn() is None:
                    name = agent_name(span.attributes or {}, span.name)
                    own = self._producer.interaction(endpoint=name, **ids)
                case "call":
                    own = self._producer.llm_call(**ids)
                case "tool":
                    own = self._producer.tool_call(**ids)
                case "search":
                    own = self._producer.retrieval(**ids)
                case "step":
                    name = agent_name(span.attributes or {}, span.name)
                    own = self._producer.track_latency(name, **ids)
        if own is None:
            return _Open(parent, own=False, in_call=in_call, root=root)
        opened = _Open(own.start(), own=True, in_call=in_call or what == "call", root=root)
        if isinstance(own, Turn):
            opened.root = opened
        return opened


def _times(span: ReadableSpan) -> dict[str, Any]:
    if span.start_time is None or span.end_time is None:
        return {}
    fields: dict[str, Any] = {
        "ts_us": span.end_time // 1_000,
        "duration_us": max(0, span.end_time - span.start_time) // 1_000,
    }
    for event in span.events:
        if event.name == _FIRST_TOKEN and event.timestamp is not None:
            fields["ttft_us"] = max(0, event.timestamp - span.start_time) // 1_000
            fields["streamed"] = True
            break
    return fields


def _ended(span: ReadableSpan, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """How a span ended, in its own words: they win over what a filter said."""
    if span.status.status_code is StatusCode.ERROR or "error.type" in attributes:
        told = dict(attributes)
        for event in span.events:
            if event.name == "exception" and event.attributes:
                told.setdefault("exception.type", event.attributes.get("exception.type"))
        return error_fields(told)
    reasons = call_fields(attributes).get("finish_reasons", ())
    return {"status": "blocked"} if BLOCKED_REASONS.intersection(reasons) else {}
