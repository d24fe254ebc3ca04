"""litellm's logger: every call through litellm, to whatever provider, becomes an ``LlmCall``.

::

    litellm.callbacks.append(LitellmLogger(producer))
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from backchannel.calls import Call
from backchannel.integrations.answer import Answer, keep_content
from backchannel.integrations.extras import MissingExtraError
from backchannel.integrations.openai import openai_usage
from backchannel.integrations.outcome import Outcome, outcome
from backchannel.integrations.payload import count, each, look, text
from backchannel.integrations.providers import provider_name
from backchannel.millionths import millionths
from backchannel.prices import PriceBook
from backchannel.recorder import Recorder
from backchannel.turn import current_turn

try:
    from litellm import completion_cost
    from litellm.integrations.custom_logger import CustomLogger
except ImportError as missing:  # pragma: no cover  # tested in an environment without it
    raise MissingExtraError("litellm") from missing

__all__ = ["LitellmLogger", "litellm_usage"]

_OPERATIONS = {
    "acompletion": "chat",
    "aembedding": "embeddings",
    "anthropic_messages": "chat",
    "aresponses": "chat",
    "atext_completion": "text_completion",
    "completion": "chat",
    "embedding": "embeddings",
    "responses": "chat",
}
_ENVELOPE = ("conversation_id", "session_id", "user_id", "tenant_id", "request_id")
_CALLS_MAX = 10_000
"""Calls under way that are remembered. Beyond, the oldest is ended as ``cancelled`` and counted."""
_NOT_THERE = object()
_PICODOLLARS = Decimal(10**12)


class LitellmLogger(CustomLogger):
    """Tracks each call of ``completion``, ``embedding``, ``responses`` and their async twins.

    Never blocks, never raises. The cost is the one that
    litellm worked out; where it knows no price, that of the price book.

    A call belongs to the turn that it is made in. litellm tells of most calls after they have
    returned, from a thread or task of its own; a turn that has ended by then no longer adds them
    to its own totals. Only ``acompletion`` and the like without ``stream`` are always in time.
    Sums over ``llm_call`` events are exact in any case.

    ``conversation_id``, ``session_id``, ``user_id``, ``tenant_id`` and ``request_id`` are taken
    from the call's ``metadata``, and ``user`` where no ``user_id`` is given.
    """

    def __init__(self, producer: Recorder) -> None:
        super().__init__()
        PriceBook.make_way()
        self._producer = producer
        self._open: OrderedDict[str, Call] = OrderedDict()
        self._in_time: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self.failures: int = 0
        """Calls that no event could be made of."""
        self.forgotten: int = 0
        """Calls under way that were given up, since there were too many."""

    def log_pre_api_call(self, model: Any, messages: Any, kwargs: Any) -> None:
        """Opens the call where it is made: in the bot's own task, inside its turn."""
        try:
            call_id = text(kwargs, "litellm_call_id")
            if call_id:
                self._remember(call_id, self._producer.llm_call().start())
        except Exception:  # noqa: BLE001  # whatever a version tells otherwise: the bot goes on
            self.failures += 1

    async def async_post_call_success_deployment_hook(
        self, request_data: Any, response: Any, call_type: Any
    ) -> None:
        """Ends a call before the bot has its answer, if the bot is in a turn."""
        try:
            call_id = text(request_data, "litellm_call_id")
            if current_turn() is None or look(response, "usage") is None:
                return
            with self._lock:
                call = self._open.pop(call_id, None)
                if call is None:
                    return
                self._in_time[call_id] = None
                if len(self._in_time) > _CALLS_MAX:
                    self._in_time.popitem(last=False)
            call.set(**_asked_fields(request_data, response, call_type))
            cost = _cost_of(request_data, response)
            self._end(call, response, cost, look(request_data, "messages"))
        except Exception:  # noqa: BLE001  # whatever a version tells otherwise: the bot goes on
            self.failures += 1

    def log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._logged(kwargs, response_obj, failed=False)

    def log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._logged(kwargs, response_obj, failed=True)

    async def async_log_success_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._logged(kwargs, response_obj, failed=False)

    async def async_log_failure_event(
        self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._logged(kwargs, response_obj, failed=True)

    def _logged(self, kwargs: Any, answer: Any, *, failed: bool) -> None:
        try:
            told = look(kwargs, "standard_logging_object")
            call_id = text(kwargs, "litellm_call_id")
            with self._lock:
                in_time = not failed and self._in_time.pop(call_id, _NOT_THERE) is None
                call = self._open.pop(call_id, None)
            if told is None or in_time:
                return
            if call is None:  # an answer out of a cache, e.g., was never asked for
                call = self._producer.llm_call()
            call.set(**_call_fields(told), **_times(told), **_envelope(kwargs, told))
            if failed:
                error = look(kwargs, "exception")
                ended = outcome(error) if isinstance(error, BaseException) else Outcome("error")
                call.set(**ended.fields())
                call.end()
            else:
                # 0 is also what litellm says where it knows no price.
                free = bool(look(told, "cache_hit"))
                cost = _picodollars(look(told, "response_cost"))
                self._end(call, answer, cost if cost or free else None, look(kwargs, "messages"))
        except Exception:  # noqa: BLE001  # whatever a version tells otherwise: the bot goes on
            self.failures += 1

    def _end(self, call: Call, response: Any, cost: int | None, prompt: Any) -> None:
        answer = Answer(words=[] if call.keeps_content else None)
        _read(answer, response)
        keep_content(call, answer, prompt)
        call.set(**answer.told())
        counts = answer.counts(prompt)
        if cost is not None:
            counts |= {"cost_picousd": cost, "cost_source": "reported", "cost_status": "priced"}
        if counts:
            call.usage(**counts)
        call.end()

    def _remember(self, call_id: str, call: Call) -> None:
        with self._lock:
            before = self._open.pop(call_id, None)  # a retry asks again under the same id
            self._open[call_id] = before or call
            if len(self._open) > _CALLS_MAX:
                _, oldest = self._open.popitem(last=False)
                self.forgotten += 1
                oldest.end(status="cancelled")


def litellm_usage(usage: Any) -> dict[str, int]:
    """Returns the token fields of ``LlmCall``: litellm's are OpenAI's, inclusive for every
    provider, with Anthropic's names for what was written to a cache."""
    fields = openai_usage(usage)
    written = (
        count(usage, "prompt_tokens_details", "cache_creation_tokens")
        or count(usage, "cache_creation_input_tokens")
        or fields.get("cache_write_tokens", 0)
    )
    return fields | ({"cache_write_tokens": written} if written else {})


def _call_fields(told: Any) -> dict[str, Any]:
    operation = text(told, "call_type")
    fields: dict[str, Any] = {
        "operation": _OPERATIONS.get(operation, operation),
        "provider": provider_name(text(told, "custom_llm_provider")),
        "request_model": text(told, "model"),
        "server_address": urlsplit(text(told, "api_base")).hostname or "",
    }
    if look(told, "stream") is True:
        fields["streamed"] = True
    temperature = millionths(look(told, "model_parameters", "temperature"))
    if temperature is not None:
        fields["temperature"] = temperature
    if count(told, "model_parameters", "max_tokens"):
        fields["max_tokens"] = count(told, "model_parameters", "max_tokens")
    if isinstance(look(told, "cache_hit"), bool):
        fields["semantic_cache"] = "hit" if look(told, "cache_hit") else "miss"
    return fields


def _times(told: Any) -> dict[str, Any]:
    started_s, ended_s = look(told, "startTime"), look(told, "endTime")
    if not isinstance(started_s, (int, float)) or not isinstance(ended_s, (int, float)):
        return {}
    fields = {
        "ts_us": round(ended_s * 1_000_000),
        "duration_us": max(0, round((ended_s - started_s) * 1_000_000)),
    }
    first_s = look(told, "completionStartTime")
    if look(told, "stream") is True and isinstance(first_s, (int, float)) and first_s >= started_s:
        fields["ttft_us"] = round((first_s - started_s) * 1_000_000)
    return fields


def _asked_fields(request: Any, response: Any, call_type: Any) -> dict[str, Any]:
    """What a request says, where litellm has not put it in order yet."""
    operation = text(call_type, "value")
    model = text(request, "model")
    provider = text(response, "_hidden_params", "custom_llm_provider")
    fields: dict[str, Any] = {
        **_envelope({"litellm_params": request}, {"end_user": text(request, "user")}),
        "operation": _OPERATIONS.get(operation, operation),
        "provider": provider_name(provider or model.partition("/")[0]),
        "request_model": model.removeprefix(f"{provider}/"),
        "server_address": urlsplit(text(request, "api_base")).hostname or "",
    }
    temperature = millionths(look(request, "temperature"))
    if temperature is not None:
        fields["temperature"] = temperature
    if count(request, "max_tokens"):
        fields["max_tokens"] = count(request, "max_tokens")
    return fields


def _read(answer: Answer, response: Any) -> None:
    """Reads a response in litellm's words, which are OpenAI's."""
    for name, key in (
        ("response_id", "id"),
        ("response_model", "model"),
        ("service_tier", "service_tier"),
    ):
        if text(response, key):
            answer.facts[name] = text(response, key)
    for index, choice in enumerate(each(response, "choices")):
        answer.hear(text(choice, "message", "content"))
        if text(choice, "finish_reason"):
            answer.reasons[index] = text(choice, "finish_reason")
    answer.usage = litellm_usage(look(response, "usage"))
    answer.usage_final = bool(answer.usage)


def _cost_of(request: Any, response: Any) -> int | None:
    try:
        usd = completion_cost(completion_response=response, model=text(request, "model"))
        return _picodollars(usd) or None
    except Exception:  # noqa: BLE001  # it knows no price
        return None


def _envelope(kwargs: Any, told: Any) -> dict[str, str]:
    given = look(kwargs, "litellm_params", "metadata")
    fields: dict[str, str] = {}
    if isinstance(given, Mapping):
        for name in _ENVELOPE:
            if isinstance(given.get(name), (str, int)):
                fields[name] = str(given[name])
    if text(told, "end_user"):
        fields.setdefault("user_id", text(told, "end_user"))
    return fields


def _picodollars(usd: Any) -> int | None:
    if isinstance(usd, bool) or not isinstance(usd, (int, float)):
        return None
    try:
        found = round(Decimal(repr(usd)) * _PICODOLLARS)
    except (ArithmeticError, ValueError):
        return None
    return found if found >= 0 else None
