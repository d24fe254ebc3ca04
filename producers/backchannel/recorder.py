"""All the ways in: what a producer offers a bot to tell, and each view of it as well."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeVar, overload

from backchannel.calls import Call, ComponentTimer, Search, ToolUse
from backchannel.conversation import Conversation
from backchannel.events import (
    ErrorEvent,
    Evaluation,
    Event,
    Exposure,
    Feedback,
    Interaction,
    Marker,
    Product,
    Security,
)
from backchannel.experiments import variant_of
from backchannel.failures import current_error, error_fields
from backchannel.millionths import millionths
from backchannel.observe import observed
from backchannel.outlet import Outlet
from backchannel.scope import Context, current_scope, inherited
from backchannel.span import Span
from backchannel.turn import Turn, current_turn

__all__ = ["Recorder", "SpanKind"]

F = TypeVar("F", bound=Callable[..., Any])

SpanKind = Literal["component", "llm_call", "tool", "retrieval", "interaction"]
"""What a function that is observed is."""


class Recorder:
    """Takes what a bot tells. Safe in any thread and task; nothing here blocks or raises.

    What is told inside a turn or a ``context`` belongs to it: it has its conversation, user, trace
    and further fields. An event's own value wins, then what ``bind`` said, then the innermost turn
    or context, then the settings.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def track(self, event: Event) -> bool:
        """Takes an event to be sent. Takes microseconds; never blocks, never raises.

        Returns whether it was accepted. If not, ``stats().dropped`` says why.
        """
        return self._outlet.track(event, current_scope())

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a producer cannot be pickled: make one in each process, or call "
            "backchannel.get_producer() there"
        )

    # What takes time.

    def interaction(self, **fields: Any) -> Turn:
        """Opens a turn, as ``with`` or ``async with``: timed, described, and tracked at its end.

        ``fields`` are those of ``events.Interaction``, e.g. ``conversation_id`` and ``model``.
        """
        return Turn(self._outlet, fields)

    def context(self, **fields: Any) -> Context:
        """Returns a block, for ``with`` and ``async with``: everything that is tracked inside, and
        in tasks that are started inside, has these fields of the envelope, e.g. ``user_id``."""
        return Context(fields)

    def track_conversation(
        self, conversation_id: str, user_id: str = "", *, turns: int = 0, **fields: Any
    ) -> Conversation:
        """Returns a conversation: turns inside ``with`` it, or opened by it, are numbered, and
        their tokens and cost add up. ``turns`` is how many there were before, where the object is
        not kept between them."""
        ids = {"conversation_id": conversation_id}
        if _is_said(user_id):
            ids["user_id"] = user_id
        return Conversation(self._outlet, {**ids, **fields}, turns)

    def llm_call(self, model: str = "", provider: str = "", **fields: Any) -> Call:
        """Opens a call to a model, e.g. ``llm_call("gpt-4o", "openai")``; inside a turn it adds
        its tokens, cost and time to it. ``fields`` are those of ``events.LlmCall``."""
        return Call(self._outlet, {"request_model": model, "provider": provider, **fields})

    def retrieval(self, data_source_id: str = "", **fields: Any) -> Search:
        """Opens a search for documents. ``fields`` are those of ``events.Retrieval``, e.g.
        ``index_version`` and ``top_k``."""
        return Search(self._outlet, {"data_source_id": data_source_id, **fields})

    def tool_call(self, name: str = "", **fields: Any) -> ToolUse:
        """Opens a call of a tool; as a decorator, each call of the function is one.

        ``fields`` are those of ``events.ToolCall``."""
        return ToolUse(self._outlet, {"tool_name": name, **fields})

    def track_latency(self, name: str, **fields: Any) -> ComponentTimer:
        """Times a block, or as a decorator each call of a function: inside a turn it is one of its
        components, outside it becomes a ``Component`` event of its own."""
        return ComponentTimer(self._outlet, {"name": name, **fields})

    @overload
    def observe(self, function: F, /) -> F: ...
    @overload
    def observe(
        self, /, *, kind: SpanKind = "component", name: str | None = None, **fields: Any
    ) -> Callable[[F], F]: ...
    def observe(
        self,
        function: Any = None,  # what the overloads say
        /,
        *,
        kind: SpanKind = "component",
        name: str | None = None,
        **fields: Any,
    ) -> Any:
        """Decorates a function, plain, ``async``, generator or asynchronous generator: each call is
        a span of this kind, under the function's name unless another is given.

        Neither arguments nor results are looked at. Of a generator the span lasts until it is
        exhausted, closed or thrown away; its first item is the first token.
        """

        def decorate(function: F) -> F:
            called = name or getattr(function, "__name__", "") or kind
            return observed(function, lambda: self._span(kind, called, fields))

        return decorate(function) if function is not None else decorate

    def _span(self, kind: SpanKind, name: str, fields: dict[str, Any]) -> Span:
        outlet = self._outlet
        match kind:
            case "interaction":
                return Turn(outlet, {"endpoint": name, **fields})
            case "llm_call":
                model = fields.get("model", "")
                rest = {key: value for key, value in fields.items() if key != "model"}
                return Call(outlet, {"request_model": model, **rest})
            case "tool":
                return ToolUse(outlet, {"tool_name": name, **fields})
            case "retrieval":
                return Search(outlet, {"data_source_id": name, **fields})
            case _:
                return ComponentTimer(outlet, {"name": name, **fields})

    # What happens in an instant.

    def evaluation(
        self, name: str, value: float | None = None, target: Any = None, **fields: Any
    ) -> bool:
        """Tells one score of one answer: ``target`` is its turn, call or ``event_id``; inside a
        turn that turn. A judgement that failed has ``status="error"`` and no value.

        ``fields`` are those of ``events.Evaluation``; scores are numbers as people write them.
        """
        return self._judge(Evaluation, {"name": name, "value": value, **fields}, target)

    def feedback(
        self, kind: str, value: float | bool | None = None, target: Any = None, **fields: Any
    ) -> bool:
        """Tells what a user said of an answer: ``thumb`` (``True`` or ``False``), ``rating``,
        ``task_completed``, ``comment`` or ``escalated``. ``target`` as with ``evaluation``."""
        return self._judge(Feedback, {"kind": kind, "value": value, **fields}, target)

    def exposure(self, experiment: str, variant: str, **fields: Any) -> bool:
        """Tells that a user saw a variant of an experiment."""
        return self._tell(Exposure, {"experiment_id": experiment, "variant": variant, **fields})

    def assign(
        self,
        experiment: str,
        weights: Mapping[str, float] | Sequence[str],
        unit: str = "",
        *,
        salt: str = "",
        **fields: Any,
    ) -> str:
        """Returns the variant that a unit sees, and tells the exposure the first time.

        ``weights`` are shares by variant, ``{"control": 9, "warm": 1}``, or names for equal shares.
        The unit is the user around this call unless another is given (an id that stays the same):
        a salted hash of it decides, in microseconds and the same in every process, so nothing is
        asked or stored; the exposure has it as its user if there is none around. Without a unit
        it is the first variant, and no exposure. In a turn, the turn and what follows in it carry
        the variant. Empty when there is nothing to choose.
        """
        try:
            return self._assign(experiment, weights, unit, salt, fields)
        except Exception:  # noqa: BLE001  # whatever was passed as weights
            self._outlet.count_repaired(1)
            return ""

    def _assign(
        self,
        experiment: str,
        weights: Mapping[str, float] | Sequence[str],
        unit: str,
        salt: str,
        fields: dict[str, Any],
    ) -> str:
        scope, outlet = current_scope(), self._outlet
        user_id = fields.get("user_id") or outlet.user_id or inherited(scope).get("user_id", "")
        unit = unit or user_id
        if not unit:
            return next(iter(weights), "")
        variant = variant_of(experiment, unit, weights, salt)
        if not variant:
            outlet.count_repaired(1)
            return ""
        turn = current_turn()
        if turn is not None:
            turn.variant(experiment, variant)
        if outlet.exposures.first(experiment, unit, variant):
            self.exposure(experiment, variant, **{**fields, "user_id": user_id or unit})
        return variant

    def log_interaction(
        self,
        query: str = "",
        response: str = "",
        metadata: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> str:
        """Tells a whole turn at once, after the fact, and returns its ``event_id``.

        ``fields`` are those of ``events.Interaction``, ``duration_us`` among them; of ``metadata``
        what has a field's name goes there and the rest into ``attributes``. Query and response go
        to ``chat.content`` alone, and only where ``capture_content`` is on.
        """
        said = dict(metadata) if isinstance(metadata, Mapping) else {}
        known = {name: said.pop(name) for name in tuple(said) if name in Interaction.model_fields}
        if said:
            words = {str(name): _word(value) for name, value in said.items()}
            known["attributes"] = {**words, **known.get("attributes", {})}
        turn = Turn(self._outlet, {"duration_us": 0, **known, **fields})
        if _is_said(query):
            turn.prompt(query)
        if _is_said(response):
            turn.reply(response)
        event_id = turn.event_id
        turn.end()
        return event_id

    def marker(self, kind: str, title: str = "", **fields: Any) -> bool:
        """Marks a moment to compare before and after: ``deploy``, ``prompt_change``,
        ``index_rebuild``, ``price_change``, ``incident`` or ``note``."""
        return self._tell(Marker, {"kind": kind, "title": title, **fields})

    def product(self, name: str, **properties: Any) -> bool:
        """Tells something a user did in the product, with properties of your own.

        ``distinct_id``, ``url``, ``feature`` and fields of the envelope go where they belong.
        """
        known = {key: properties.pop(key) for key in _PRODUCT_FIELDS if key in properties}
        words = {str(key): _word(value) for key, value in properties.items()}
        return self._tell(Product, {"name": name, "properties": words, **known})

    def security(self, kind: str, outcome: str = "flagged", **fields: Any) -> bool:
        """Tells something that a security rule should see: its outcome is ``allowed``, ``blocked``
        or ``flagged``."""
        return self._tell(Security, {"kind": kind, "outcome": outcome, **fields})

    def capture_exception(self, error: BaseException | None = None, **fields: Any) -> bool:
        """Tells an exception, the one being handled if none is given: its type, message, stack
        without any values of variables, and a fingerprint to group it by."""
        error = error if error is not None else current_error()
        if not isinstance(error, BaseException):
            self._outlet.intake.count_invalid()
            return False
        return self._tell(ErrorEvent, {**self._where(), **error_fields(error), **fields})

    def capture_message(self, text: str, level: str = "info", **fields: Any) -> bool:
        """Tells a message worth counting; levels are ``debug``, ``info``, ``warning``, ``error``
        and ``fatal``."""
        return self._tell(ErrorEvent, {**self._where(), "message": text, "level": level, **fields})

    def _tell(self, model: type[Event], fields: dict[str, Any]) -> bool:
        return self._outlet.emit_in(current_scope(), model, fields)

    def _judge(self, model: type[Event], fields: dict[str, Any], target: Any) -> bool:
        scope = current_scope()
        if target is None:
            target = current_turn()
        if isinstance(target, Span):
            scope = target
            target = target.event_id
        if _is_said(target):
            fields["target_event_id"] = target
        for name in _SCORES:
            if fields.get(name) is not None:
                fields[name] = millionths(fields[name])
                if fields[name] is None:
                    self._outlet.count_repaired(1)
        return self._outlet.emit_in(scope, model, fields)

    def _where(self) -> dict[str, Any]:
        """The endpoint of the turn that an error happens in."""
        turn = current_turn()
        endpoint = turn.endpoint if turn is not None else ""
        return {"endpoint": endpoint} if endpoint else {}


_SCORES = ("value", "scale_min", "scale_max")
_PRODUCT_FIELDS = tuple(set(Product.model_fields) - {"name", "properties", "event_type"})


def _is_said(value: object) -> bool:
    """Whether there is anything. The value is not asked: an array of numpy's has no truth, and no
    more has the NA of pandas."""
    return value is not None and not (isinstance(value, str) and not value)


def _word(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # an object of the bot's whose text can't be made
        return ""
