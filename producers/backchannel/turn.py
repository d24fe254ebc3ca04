"""One turn of a bot, timed and described while it happens, and tracked when it ends."""

import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, Self

from backchannel.calls import Call, ComponentTimer, Search, ToolUse
from backchannel.events import Event, Interaction
from backchannel.metering import TOKENS, dollars, price
from backchannel.millionths import millionths
from backchannel.outlet import Outlet
from backchannel.scope import OpenConversation, OpenTurn, Scope, current_scope, inherited
from backchannel.span import Span, put_counts

__all__ = ["Turn", "current_turn"]

_WORSE = ("invalid_usage", "unpriced", "priced")
"""What is known of a cost, the worst first: a sum is known if all of it is."""
_COSTS = ("input_cost_picousd", "output_cost_picousd", "cost_picousd")
_ADDED = (*TOKENS, *_COSTS)
_SURER = ("estimate", "tokenizer", "provider")
"""Who counted tokens, the least sure first: a sum is as sure as its least sure part."""

# Calls may end in several threads at once. Reentrant: a finalizer may end one in the middle of
# another. One for all turns, since it is held for a microsecond.
_counting = threading.RLock()


class Turn(Span):
    """A turn under way: a context manager for ``with`` and ``async with`` alike, used once.

    When it ends, one ``Interaction`` is tracked: ``ts_us`` is the end of the turn, ``duration_us``
    the time in the block, ``status`` how it ended. An exception is noted by the name of its class,
    never by its message, and goes on its way. Nothing here blocks or raises: fields that don't fit
    the contract are cut or left out, and counted.

    Calls that are opened inside, or by the turn's own methods, belong to it: they have its
    conversation, user and trace, their tokens add to its own, and their time to its components.
    What ends after the turn has ended is still tied to it, but no longer added.
    """

    __slots__ = ("_calls", "_components", "_conversation", "_ttft_us")

    EVENT: ClassVar[type[Event]] = Interaction
    streams = True

    def __init__(self, outlet: Outlet, fields: dict[str, Any], parent: Scope | None = None) -> None:
        super().__init__(outlet, fields, parent)
        self._components: dict[str, int] = {}
        self._calls: dict[str, Any] = {}
        self._conversation: OpenConversation | None = None
        self._ttft_us: int | None = None

    @property
    def endpoint(self) -> str:
        """The endpoint, if one was said."""
        found = self._fields.get("endpoint")
        return found if isinstance(found, str) else ""

    @property
    def cost(self) -> Decimal | None:
        """What it cost so far, in dollars; ``None`` unless the price of all of it is known."""
        with _counting:
            fields = dict(self._fields)
            self._price(fields, self._outlet.clock.now_us())
            if self._calls:
                self._add_calls(fields)
        return dollars(fields)

    def _around(self) -> Scope | None:
        # A task that was started in a turn and outlives it, say a worker that serves all later
        # turns, must not give them the first one's user.
        scope = current_scope()
        while isinstance(scope, Span) and scope._closed:
            scope = scope._parent
        return scope

    # What happens in it.

    def component(self, name: str) -> ComponentTimer:
        """Times a part of the turn, with ``with`` or ``async with``; repeated names add up."""
        return ComponentTimer(self._outlet, {"name": name}, self)

    def llm_call(self, model: str = "", provider: str = "", **fields: Any) -> Call:
        """Opens a call to a model that belongs to this turn, as ``Producer.llm_call`` does."""
        return Call(self._outlet, {"request_model": model, "provider": provider, **fields}, self)

    def retrieval(self, data_source_id: str = "", **fields: Any) -> Search:
        """Opens a search that belongs to this turn, as ``Producer.retrieval`` does."""
        return Search(self._outlet, {"data_source_id": data_source_id, **fields}, self)

    def tool_call(self, name: str = "", **fields: Any) -> ToolUse:
        """Opens a call of a tool that belongs to this turn, as ``Producer.tool_call`` does."""
        return ToolUse(self._outlet, {"tool_name": name, **fields}, self)

    def usage(self, **counts: Any) -> None:
        """Adds the tokens (and costs) of one call to a model: ``input_tokens=…, output_tokens=…``.

        Numbers add up over calls, and each call counts in ``llm_calls``; ``usage_source`` and
        other words are set. For calls that ``llm_call`` did not open: those add their own.
        """
        counts.setdefault("llm_calls", 1)
        with _counting:
            misfits = put_counts(self._fields, counts, add=True)
        if misfits:
            self._outlet.count_repaired(misfits)

    # What is said of it.

    def intent(self, name: str, confidence: float | None = None) -> None:
        """Says what the user wants, and how sure that is, between 0 and 1."""
        self._fields["intent"] = name
        if confidence is not None:
            self._fields["intent_confidence"] = self._millionths(confidence)

    def category(self, name: str) -> None:
        """Says what kind of question it is, e.g. ``billing``."""
        self._fields["query_category"] = name

    def prompt_version(self, name: str, version: str = "") -> None:
        """Says which prompt was used, on the turn and on what happens in it from now on."""
        self._fields["prompt_name"] = name
        self._fields["prompt_version"] = version

    def variant(self, experiment: str, variant: str) -> None:
        """Says which variant of an experiment was used, on the turn and on what happens in it."""
        self._fields["experiment_id"] = experiment
        self._fields["variant"] = variant

    def fallback(self) -> None:
        """Says that the bot gave its fallback answer."""
        self._fields["fallback_used"] = True

    def first_token(self) -> None:
        """Notes that the first token of the answer is there; only the first call counts.

        Without it, the first token of the first streamed call in the turn counts.
        """
        super().first_token()

    def first_byte(self) -> None:
        """Notes that the first byte of the response goes out; only the first call counts."""
        if "ttfb_us" not in self._fields:
            self._fields["ttfb_us"] = self.elapsed_us()

    def start(self) -> Self:
        self._begin()
        return super().start()

    def __enter__(self) -> Self:
        self._begin()
        return super().__enter__()

    # For the calls inside.

    def open_turn(self) -> OpenTurn | None:
        if not self._ended:
            return self
        return super().open_turn()

    def in_part(self) -> bool:
        return self._ended and super().in_part()

    def lend_span_id(self) -> str:
        # Whoever asks becomes a child, and a turn with children needs a trace to tie them to.
        fields = self._fields
        if "trace_id" not in fields and "trace_id" not in self._outlet.bound:
            above = inherited(self._parent).get("trace_id")
            fields["trace_id"] = above or self.event_id.replace("-", "")
        return self.span_id

    def count_call(self, fields: Mapping[str, Any]) -> None:
        with _counting:
            calls = self._calls
            counts = {name: fields[name] for name in _ADDED if fields.get(name) is not None}
            put_counts(calls, {"llm_calls": 1, **counts}, add=True)
            status = fields.get("cost_status")
            if status in _WORSE:
                known = calls.get("cost_status", status)
                calls["cost_status"] = min(status, known, key=_WORSE.index)
                for name in ("cost_source", "price_version"):
                    same = calls.setdefault(name, fields.get(name, "")) == fields.get(name, "")
                    calls[name] = calls[name] if same else ""
            source = fields.get("usage_source")
            if source in _SURER:
                known = calls.get("usage_source", source)
                calls["usage_source"] = min(source, known, key=_SURER.index)
            if fields.get("operation") != "embeddings":
                for name, value in (
                    ("provider", fields.get("provider")),
                    ("model", fields.get("response_model") or fields.get("request_model")),
                ):
                    if value:
                        calls.setdefault(name, value)

    def count_part(self, name: str, us: int) -> None:
        with _counting:
            try:
                self._components[name] = self._components.get(name, 0) + us
            except Exception:  # noqa: BLE001  # a name that is no string, and not even hashable
                self._components["?"] = self._components.get("?", 0) + us

    def saw_token(self) -> None:
        if self._ttft_us is None:
            self._ttft_us = self._outlet.clock.monotonic_us() - self._started_us

    def _begin(self) -> None:
        if self._held:
            return
        self._outlet.in_flight.append(None)
        parent = self._parent
        if parent is not None and parent.open_turn() is None:  # a turn in a turn is a part of it
            self._conversation = parent.open_conversation()
            if self._conversation is not None:
                fields = self._fields
                number = self._conversation.next_turn(fields.get("turn"))
                fields["turn"] = number
                fields.setdefault("conversation_length", number)

    def _end(self, kind: type[BaseException] | None) -> None:
        in_flight = self._outlet.in_flight
        if self._held and not self._ended and in_flight:
            in_flight.pop()
        super()._end(kind)

    def _complete(self, fields: dict[str, Any]) -> None:
        if self._components:
            given = fields.get("components")
            known = given if isinstance(given, dict) else {}
            fields["components"] = {**known, **self._components}
        self._price(fields, fields["ts_us"])
        if self._calls:
            self._add_calls(fields)
        if self._ttft_us is not None and "ttft_us" not in fields:
            fields["ttft_us"] = self._ttft_us
            fields["streamed"] = True
        if self._conversation is not None:
            self._conversation.count_turn(fields)

    def _price(self, fields: dict[str, Any], ts_us: int) -> None:
        """Prices what ``usage`` told; calls of their own have been priced."""
        price(self._outlet.prices, fields, (fields.get("model"),), ts_us)

    def _add_calls(self, fields: dict[str, Any]) -> None:
        calls = self._calls
        for name in ("provider", "model", "usage_source"):
            if name in calls and not fields.get(name):
                fields[name] = calls[name]
        counts = {name: calls[name] for name in (*_ADDED, "llm_calls") if name in calls}
        self._outlet.count_repaired(put_counts(fields, counts, add=True))
        statuses = {fields.get("cost_status"), calls.get("cost_status")} & set(_WORSE)
        if statuses:
            status = min(statuses, key=_WORSE.index)
            fields["cost_status"] = status
            if status != "priced":  # a part of the cost is no cost
                for name in _COSTS:
                    fields.pop(name, None)
            for name in ("cost_source", "price_version"):
                if name in calls and fields.setdefault(name, calls[name]) != calls[name]:
                    fields[name] = ""

    def _millionths(self, value: Any) -> int | None:
        found = millionths(value)
        if found is None:
            self._outlet.count_repaired(1)
        return found


def current_turn() -> Turn | None:
    """Returns the turn that this code runs in, in this task or thread; ``None`` outside of any."""
    scope = current_scope()
    found = scope.open_turn() if scope is not None else None
    return found if isinstance(found, Turn) else None
