"""What a bare trace does not say: who asked, which model answered, how long it took.

All of it is made up, follows from the seed alone, and every event is tagged ``synthetic``.
Only time and tokens are the trace's own.
"""

import random
from dataclasses import dataclass

from backchannel.events import COUNT_MAX, Interaction
from backchannel_deploy.replay.trace import Request

__all__ = ["SYNTHETIC", "Synthesizer"]

SYNTHETIC = "synthetic"
"""The tag of events that hold something made up."""

_CONVERSATIONS_MAX = 200
_USERS_A_TENANT = 500
_NEW_CONVERSATION = 0.3
"""Share of requests that begin a conversation."""

_TENANTS = ("acme", "globex", "initech", "umbrella")
_TENANT_WEIGHTS = (50, 30, 15, 5)
_ENDPOINTS = ("/chat", "/assist", "/summarize")
_ENDPOINT_WEIGHTS = (70, 20, 10)
_FAILURES = (("error", "ProviderError"), ("timeout", "ReadTimeout"), ("rate_limited", ""))
_FAILURE_WEIGHTS = (50, 30, 20)
_FAILURE_SHARE = 0.015


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    provider: str
    first_token_us: int
    """Before the first token, without the prompt's share."""
    input_token_us: int
    output_token_us: int


_MODELS = (
    _Model("gpt-4o-mini", "openai", 180_000, 60, 7_000),
    _Model("gpt-4o", "openai", 320_000, 120, 13_000),
    _Model("claude-sonnet", "anthropic", 400_000, 110, 15_000),
)
_MODEL_WEIGHTS = (55, 30, 15)


@dataclass(slots=True)
class _Conversation:
    id: str
    tenant: str
    user: str
    endpoint: str
    model: _Model
    turns: int = 0


class Synthesizer:
    """Makes an interaction of each request; the same seed and requests give the same interactions
    (but for ``event_id``, which is new every time)."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._open: list[_Conversation] = []

    def interaction(self, request: Request) -> Interaction:
        """Returns the next request as an interaction."""
        rng = self._rng
        conversation = self._conversation()
        conversation.turns += 1
        model = conversation.model
        retrieval_us = round(rng.lognormvariate(11.2, 0.4))  # about 70 ms
        slowness = rng.lognormvariate(0, 0.25)
        ttft_us = round(
            slowness * (model.first_token_us + request.input_tokens * model.input_token_us)
        )
        generation_us = ttft_us + round(slowness * request.output_tokens * model.output_token_us)
        status, error_type = "ok", ""
        if rng.random() < _FAILURE_SHARE:
            status, error_type = rng.choices(_FAILURES, _FAILURE_WEIGHTS)[0]
        return Interaction.model_validate(
            {
                "ts_us": request.ts_us,
                "tenant_id": conversation.tenant,
                "user_id": conversation.user,
                "conversation_id": conversation.id,
                "turn": conversation.turns,
                "conversation_length": conversation.turns,
                "tags": (SYNTHETIC,),
                "endpoint": conversation.endpoint,
                "provider": model.provider,
                "model": model.name,
                "status": status,
                "error_type": error_type,
                "duration_us": min(retrieval_us + generation_us, COUNT_MAX),
                "ttft_us": min(retrieval_us + ttft_us, COUNT_MAX),
                "streamed": True,
                "components": {
                    "rag_retrieval": retrieval_us,
                    "llm_generation": min(generation_us, COUNT_MAX),
                },
                "llm_calls": 1,
                "input_tokens": request.input_tokens,
                "output_tokens": request.output_tokens,
                "usage_source": "provider",
            }
        )

    def _conversation(self) -> _Conversation:
        rng = self._rng
        if self._open and rng.random() >= _NEW_CONVERSATION:
            return rng.choice(self._open)
        tenant = rng.choices(_TENANTS, _TENANT_WEIGHTS)[0]
        new = _Conversation(
            id=f"c-{rng.getrandbits(64):016x}",
            tenant=tenant,
            user=f"{tenant}-u{rng.randrange(_USERS_A_TENANT)}",
            endpoint=rng.choices(_ENDPOINTS, _ENDPOINT_WEIGHTS)[0],
            model=rng.choices(_MODELS, _MODEL_WEIGHTS)[0],
        )
        if len(self._open) < _CONVERSATIONS_MAX:
            self._open.append(new)
        else:
            self._open[rng.randrange(_CONVERSATIONS_MAX)] = new
        return new
